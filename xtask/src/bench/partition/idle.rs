//! Maintenance that finds nothing to do.

use postgres::Client;

use super::{Bench, Cost, Database, ratio};

/// How many partitions are ahead of now, wherever they are counted: so many are looked for each time.
const PREMAKE: u32 = 7;
const USUAL: u32 = 100;
/// The work of one call is too small for one.
const WARM_CALLS: u32 = 20;
const OPDB: &str = "CALL opdb.run_partition_maintenance()";
const PARTMAN: &str = "SELECT partman.run_maintenance()";

/// In a session that has just connected, and in one that has done the same before.
struct Costs {
    fresh: Cost,
    warm: Cost,
}

pub fn run(bench: &mut Bench, parents: u32, runs: u32) -> anyhow::Result<()> {
    let database = bench.database()?;
    let (half, double) = (parents / 2, parents * 2);
    for (kind, tables, partitions) in [("few", half, 10), ("usual", double, USUAL), ("many", half, 400)] {
        make(&mut database.session()?, kind, tables, partitions)?;
    }
    println!(
        "\n== nothing to do, retention set: ms of CPU and wall in a fresh session, then in a used one =="
    );
    println!("{:<52} {:>8} {:>8} {:>8} {:>8}", "tables x partitions", "CPU", "wall", "CPU", "wall");
    let few = opdb(&database, "few", half, 10, runs)?;
    let by_tables = [half, parents, double].map(|tables| opdb(&database, "usual", tables, USUAL, runs));
    let [fifty, hundred, twice] = by_tables;
    let (fifty, hundred, twice) = (fifty?, hundred?, twice?);
    let many = opdb(&database, "many", half, 400, runs)?;
    let partman = partman(&database, parents, runs)?;
    let [fresh, warm] = [(&partman.fresh, &hundred.fresh), (&partman.warm, &hundred.warm)]
        .map(|(theirs, ours)| ratio(theirs.cpu, ours.cpu));
    bench.promise(
        fresh >= 50.0 && warm >= 50.0,
        &format!(
            "nothing to do: at most 1/50 of pg_partman's CPU time: 1/{fresh:.0} in a fresh session, 1/{warm:.0} in a used one"
        ),
    );
    let growth = ratio(twice.warm.cpu, fifty.warm.cpu);
    bench.promise(
        growth <= 4.4,
        &format!("nothing to do: linear in tables: {growth:.1}x for 4x as many ({half} and {double})"),
    );
    let growth = ratio(many.warm.cpu, few.warm.cpu);
    bench.promise(
        growth <= 1.25,
        &format!("nothing to do: flat in partitions: {growth:.2}x for 40x as many (10 and 400 a table)"),
    );
    Ok(())
}

/// Daily partitions up to [`PREMAKE`] days ahead, called as pg_partman expects, and a default one, which it makes. Today's
/// has a row, without which pg_partman does not look any further.
fn make(client: &mut Client, kind: &str, tables: u32, partitions: u32) -> anyhow::Result<()> {
    client.batch_execute(&format!("CREATE SCHEMA {kind}"))?;
    client.batch_execute(&format!(
        "DO $$
         BEGIN
             FOR n IN 1 .. {tables} LOOP
                 EXECUTE format('CREATE TABLE {kind}.t%s (id bigint, at timestamptz NOT NULL) PARTITION BY RANGE (at)', n);
                 EXECUTE format('CREATE TABLE {kind}.t%1$s_default PARTITION OF {kind}.t%1$s DEFAULT', n);
                 FOR day IN {PREMAKE} - {partitions} + 1 .. {PREMAKE} LOOP
                     EXECUTE format('CREATE TABLE {kind}.t%1$s_p%2$s PARTITION OF {kind}.t%1$s FOR VALUES FROM (%3$L) TO (%4$L)',
                                    n, to_char(current_date + day, 'YYYY_MM_DD'), current_date + day, current_date + day + 1);
                 END LOOP;
                 EXECUTE format('INSERT INTO {kind}.t%s VALUES (1, now())', n);
                 COMMIT;
             END LOOP;
         END
         $$"
    ))?;
    Ok(client.batch_execute("VACUUM ANALYZE")?)
}

fn opdb(database: &Database, kind: &str, tables: u32, partitions: u32, runs: u32) -> anyhow::Result<Costs> {
    let mut client = database.session()?;
    client.batch_execute(&format!(
        "SELECT opdb.unmanage_partitions(parent) FROM opdb.partition_set;
         SELECT opdb.manage_partitions(format('{kind}.t%s', n)::regclass, '1 day', premake => {PREMAKE}, retention => '2 years')
         FROM generate_series(1, {tables}) n"
    ))?;
    // So that what was inserted is counted before what is in the default partition is remembered.
    std::thread::sleep(std::time::Duration::from_secs(1));
    client.batch_execute(OPDB)?;
    let due: i64 = client.query_one("SELECT count(*) FROM opdb.due_partition_sets()", &[])?.get(0);
    anyhow::ensure!(due == 0, "{due} tables still have something to do");
    drop(client);
    costs(database, OPDB, WARM_CALLS, runs)?.printed(&format!("opdb: {tables} x {partitions}"))
}

fn partman(database: &Database, tables: u32, runs: u32) -> anyhow::Result<Costs> {
    let mut client = database.session()?;
    client.batch_execute(&format!(
        "SET client_min_messages = error;
         SELECT partman.create_parent(format('usual.t%s', n), 'at', 'native', '1 day', p_premake => {PREMAKE})
         FROM generate_series(1, {tables}) n;
         UPDATE partman.part_config SET retention = '2 years', infinite_time_partitions = true"
    ))?;
    client.batch_execute(PARTMAN)?;
    let count = "SELECT count(*) FROM pg_inherits";
    let before: i64 = client.query_one(count, &[])?.get(0);
    let costs = costs(database, PARTMAN, 1, runs)?;
    let after: i64 = client.query_one(count, &[])?.get(0);
    anyhow::ensure!(before == after, "pg_partman had something to do");
    costs.printed(&format!("pg_partman: {tables} x {USUAL}"))
}

fn costs(database: &Database, sql: &str, calls: u32, runs: u32) -> anyhow::Result<Costs> {
    let (mut fresh, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let mut client = database.session()?;
        fresh.push(Cost::of_sql(&mut client, sql)?);
        let all =
            Cost::of(&mut client, |client| (0..calls).try_for_each(|_| Ok(client.batch_execute(sql)?)))?;
        warm.push(Cost { cpu: all.cpu / calls, wall: all.wall / calls });
    }
    Ok(Costs { fresh: Cost::median(&fresh), warm: Cost::median(&warm) })
}

impl Costs {
    fn printed(self, name: &str) -> anyhow::Result<Self> {
        let [a, b, c, d] =
            [self.fresh.cpu, self.fresh.wall, self.warm.cpu, self.warm.wall].map(super::milliseconds);
        println!("{name:<52} {a:>8.1} {b:>8.1} {c:>8.1} {d:>8.1}");
        Ok(self)
    }
}
