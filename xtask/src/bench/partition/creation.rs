//! Making the partitions of a year.

use postgres::Client;

use super::{Bench, Cost, ratio};

const TABLE: &str = "
    CREATE TABLE events (id bigint NOT NULL, at timestamptz NOT NULL, source text, kind integer, payload jsonb,
                         PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE INDEX ON events (at); CREATE INDEX ON events (source, at); CREATE INDEX ON events (kind)";

pub fn run(bench: &mut Bench, days: u32, runs: u32) -> anyhow::Result<()> {
    println!("\n== making {days} daily partitions of a table with a primary key and 3 indexes, in ms ==");
    println!("{:<52} {:>10} {:>10}", "", "CPU", "wall");
    let (mut opdb, mut bare, mut partman) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        opdb.push(cost(bench, days, |_| {
            Ok(format!("SELECT opdb.manage_partitions('events', '1 day', premake => {})", days - 1))
        })?);
        bare.push(cost(bench, days, |client| ddl(client, days))?);
        // It counts its default partition, which the others do not make.
        partman.push(cost(bench, days + 1, |_| {
            Ok(format!(
                "SELECT partman.create_parent('public.events', 'at', 'native', '1 day', p_premake => {},
                                              p_start_partition => current_date::text)",
                days - 1
            ))
        })?);
    }
    let [opdb, bare, partman] = [opdb, bare, partman].map(|costs| Cost::median(&costs));
    opdb.print("opdb.manage_partitions()");
    bare.print("the same statements");
    partman.print("partman.create_parent(), and a default partition");
    let by_cpu = ratio(opdb.cpu, bare.cpu);
    bench.promise(
        by_cpu <= 1.2,
        &format!(
            "creation: at most 1.2x the CPU time of the bare statements: {by_cpu:.2}x (wall {:.2}x)",
            ratio(opdb.wall, bare.wall)
        ),
    );
    Ok(())
}

/// In a database and a session that have done nothing else.
fn cost(
    bench: &Bench,
    partitions: u32,
    sql: impl FnOnce(&mut Client) -> anyhow::Result<String>,
) -> anyhow::Result<Cost> {
    let database = bench.database()?;
    let mut client = database.session()?;
    client.batch_execute(TABLE)?;
    let sql = sql(&mut client)?;
    drop(client);
    let cost = Cost::of_sql(&mut database.session()?, &sql)?;
    let count = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass";
    let made: i64 = database.session()?.query_one(count, &[])?.get(0);
    anyhow::ensure!(made == i64::from(partitions), "{made} partitions instead of {partitions}");
    Ok(cost)
}

/// In one transaction.
fn ddl(client: &mut Client, days: u32) -> anyhow::Result<String> {
    let sql = "SELECT string_agg(format(
                   'CREATE TABLE public.events_%1$s (LIKE public.events INCLUDING ALL EXCLUDING IDENTITY);
                    ALTER TABLE public.events ATTACH PARTITION public.events_%1$s FOR VALUES FROM (%2$L) TO (%3$L);',
                   to_char(day, 'YYYY_MM_DD'), day, day + 1), ' ' ORDER BY day)
               FROM (SELECT current_date + n FROM generate_series(0, $1::integer - 1) n) d (day)";
    let statements: String = client.query_one(sql, &[&i32::try_from(days)?])?.get(0);
    Ok(format!("BEGIN; {statements} COMMIT"))
}
