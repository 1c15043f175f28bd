//! pg_dump takes opdb's data along, also for a role that owns nothing, and what is restored goes on.

use std::process::Command;

use crate::fixture::{
    database, execute, ingest, installation, on_test, plain_database, records, role, servers, text,
};

#[test]
fn a_dump_by_a_role_that_owns_nothing_restores_a_working_database() {
    let name = database(&servers().test);
    let mut client = on_test(&name);
    execute(
        &mut client,
        "SELECT opdb.set_environment('test', 'test');
         SELECT opdb.create_event_table('events', start_at => '2024-03-01');
         SELECT opdb.add_quality_rule('events', 'accuracy', 'not_null', '{source}');
         SELECT opdb.manage_partitions('events', start_at => '2024-03-01', retention => '100 years');
         SELECT opdb.hold_partitions('events', 'for ever');
         SELECT opdb.quality_score('events')",
    );
    ingest(&mut client, "events", &records(30));
    ingest(&mut client, "events", "[1, 2]");
    let dumper = role(&servers().test, &["opdb_admin"]);
    execute(
        &mut client,
        &format!(
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {dumper}; GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {dumper};
             SELECT opdb.capture_schema()"
        ),
    );

    let dump = pg("pg_dump", &["-U", &dumper, "-d", &name], &dumper, None);
    let restored = plain_database(&servers().test);
    let superuser = servers().test.superuser();
    pg(
        "psql",
        &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", superuser, "-d", &restored],
        servers().test.password(),
        Some(&dump),
    );

    let mut client = on_test(&restored);
    assert_eq!(text(&mut client, "SELECT name FROM opdb.current_environment()"), "test");
    assert_eq!(text(&mut client, "SELECT opdb.validate_schema() ->> 'valid'"), "true");
    assert_eq!(ingest(&mut client, "events", &records(60)), (30, 30, 0), "it knows what it has");
    assert_eq!(ingest(&mut client, "events", "[1, 3]"), (0, 0, 2));
    let letters = "SELECT count(*) || ' ' || max(attempts) || ' ' || (max(id) > 2) FROM opdb.dead_letters";
    assert_eq!(text(&mut client, letters), "3 2 true", "one known, one new with a new id");
    execute(&mut client, "CALL opdb.run_partition_maintenance()");
    let kept = "SELECT retention || ' ' || hold || ' ' || last_status || ' ' || gaps::text FROM opdb.partition_status";
    assert_eq!(text(&mut client, kept), "100 years for ever done {}");
    assert_eq!(text(&mut client, "SELECT run_id > 1 AND passed FROM opdb.quality_score('events')"), "t");
}

fn pg(program: &str, args: &[&str], password: &str, input: Option<&str>) -> String {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = Command::new(installation().bin.join(program))
        .args(["-h", servers().test.host(), "-p", &servers().test.port().to_string()])
        .args(args)
        .env("PGPASSWORD", password)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.unwrap_or_default().to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
