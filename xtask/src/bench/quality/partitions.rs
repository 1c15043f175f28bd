//! A table of daily partitions, scored again after one day has changed.

use opdb_e2e::quality_peers::{ORDERS, Rule, add_rules};
use postgres::Client;

use super::verdicts::{check_by_hand, counts, latest};
use super::{Bench, Sizes};
use crate::bench::usage::{Cost, ratio};

const TABLE: &str = "orders_by_day";
const SCORE_BY_DAY: &str = "SELECT * FROM opdb.quality_score('orders_by_day')";
/// Without the option it leaves pages with few dead rows as they are, and those cannot be told to be unchanged.
const VACUUM: &str = "VACUUM (INDEX_CLEANUP on) orders_by_day";

pub fn run(bench: &mut Bench, sizes: &Sizes) -> anyhow::Result<()> {
    let Sizes { days, rows_per_day, runs, .. } = *sizes;
    let database = bench.database("by_day")?;
    let mut client = bench.session(&database)?;
    make(&mut client, days, rows_per_day)?;
    // Whether keys are repeated is a question to all rows together, whichever of them have changed.
    let rules: Vec<Rule> = bench.rules.iter().filter(|rule| rule.rule != "unique").cloned().collect();
    add_rules(&mut client, TABLE, &rules)?;

    println!(
        "\n== {days} daily partitions of {rows_per_day} rows, without the rules about unique keys, in ms =="
    );
    println!("{:<52} {:>10} {:>10}", "", "CPU", "wall");
    let (mut all, mut one) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let of_each_day = format!("id % {rows_per_day} = 1");
        all.push(scored_after_change(bench, &mut client, &database, &of_each_day)?);
        let of_one_day = format!("id <= {rows_per_day} AND id % 100 = 1");
        one.push(scored_after_change(bench, &mut client, &database, &of_one_day)?);
        let doubts = check_by_hand(&rules, &latest(&mut client, &rules)?, &counts(&mut client, TABLE)?);
        anyhow::ensure!(doubts.is_empty(), "opdb and the SQL by hand differ:\n{}", doubts.join("\n"));
    }
    let [all, one] = [all, one].map(|costs| Cost::median(&costs));
    all.print("scored after a change of every day");
    one.print("scored again after a change of one day");
    let by = ratio(one.cpu, all.cpu);
    let text = format!("one of {days} days changed: at most 1/10 of the CPU time of all: {by:.3}x");
    bench.promises.add(by <= 0.1, &text);
    Ok(())
}

fn scored_after_change(
    bench: &Bench,
    client: &mut Client,
    database: &super::Database,
    condition: &str,
) -> anyhow::Result<Cost> {
    client.batch_execute(&format!("UPDATE {TABLE} SET quantity = quantity WHERE {condition}"))?;
    client.batch_execute(VACUUM)?;
    Cost::of_sql(&mut bench.session(database)?, SCORE_BY_DAY)
}

fn make(client: &mut Client, days: u32, rows_per_day: u32) -> anyhow::Result<()> {
    client.batch_execute(ORDERS)?;
    client.batch_execute(&format!(
        "CREATE TABLE {TABLE} (LIKE orders, PRIMARY KEY (id, created)) PARTITION BY RANGE (created);
         DO $$
         BEGIN
             FOR day IN 0 .. {days} - 1 LOOP
                 EXECUTE format('CREATE TABLE {TABLE}_%s PARTITION OF {TABLE} FOR VALUES FROM (%L) TO (%L)',
                                day, date '2026-01-01' + day, date '2026-01-02' + day);
             END LOOP;
         END
         $$;
         INSERT INTO {TABLE} SELECT * FROM made_orders(1, {rows}, '2026-01-01', date '2026-01-01' + {days})",
        rows = u64::from(days) * u64::from(rows_per_day)
    ))?;
    Ok(client.batch_execute(&format!("VACUUM (FREEZE, ANALYZE) {TABLE}"))?)
}
