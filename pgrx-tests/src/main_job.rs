//! The main job: a real feed is ingested into a test database, validated, scored, checked against a
//! production server, and promoted there. The demo shows it; a test asserts what it returns.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use postgres::{Client, SimpleQueryMessage};

use crate::cluster::Cluster;
use crate::table;

/// The database on both servers.
pub const DATABASE: &str = "events";

const DEPLOYER: &str = "events_deployer";
const DEPLOYER_PASSWORD: &str = "only for this demo";

/// Three records that are no events: no source, no such day, a payload that is a list.
const BROKEN: &str = r#"[
    {"source_id": "broken-1", "occurred_at": "2018-02-06T00:00:00Z", "payload": {"mag": 1.0}},
    {"source": "ci", "source_id": "broken-2", "occurred_at": "2018-02-30T00:00:00Z", "payload": {"mag": 1.0}},
    {"source": "ci", "source_id": "broken-3", "occurred_at": "2018-02-06T00:00:00Z", "payload": [1.0]}
]"#;

/// The feed as records: what a scraper would send. The feed is the column `document` of `feed`.
pub const AS_RECORDS: &str = "
    SELECT jsonb_agg(jsonb_build_object(
               'source', event -> 'properties' -> 'net',
               'source_id', event -> 'id',
               'occurred_at', to_char(to_timestamp((event -> 'properties' ->> 'time')::numeric / 1000)
                                          AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),
               'payload', event -> 'properties' || jsonb_build_object('geometry', event -> 'geometry')))
    FROM jsonb_array_elements(feed.document -> 'features') AS event";

/// A week of earthquakes, as it was published.
pub fn feed() -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/usgs_all_week.geojson");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// What the job came to.
#[derive(Debug, Default)]
pub struct Summary {
    pub first_feed: Ingested,
    pub second_feed: Ingested,
    pub broken: Ingested,
    pub dead_letters: i64,
    pub partitions: i64,
    pub schema_valid: bool,
    pub score: String,
    pub quality_passed: bool,
    pub blocking_before: Vec<String>,
    pub blocking_after: Vec<String>,
    pub refused: Deployment,
    pub rows_after_refusal: i64,
    pub applied: Deployment,
    pub repeated: Deployment,
    pub rows_in_production: i64,
    pub same_rows: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    pub inserted: i64,
    pub duplicates: i64,
    pub rejected: i64,
}

#[derive(Debug, Default)]
pub struct Deployment {
    pub state: String,
    pub inserted: Option<i64>,
    pub updated: Option<i64>,
    pub unchanged: Option<i64>,
    pub error: Option<String>,
}

/// Does the job from two empty clusters on, and tells `out` about it.
pub fn run(test: &Cluster, production: &Cluster, out: &mut dyn Write) -> anyhow::Result<Summary> {
    let mut job = Job::start(test, production, out)?;
    job.environments(production)?;
    job.ingest()?;
    job.validate()?;
    job.score()?;
    job.compare()?;
    job.deploy()?;
    job.conclude()?;
    Ok(job.summary)
}

struct Job<'a> {
    test: Client,
    production: Client,
    out: &'a mut dyn Write,
    summary: Summary,
    started: Instant,
    step: usize,
}

impl<'a> Job<'a> {
    fn start(test: &Cluster, production: &Cluster, out: &'a mut dyn Write) -> anyhow::Result<Self> {
        for cluster in [test, production] {
            cluster.create_database(DATABASE)?;
        }
        let mut job = Self {
            test: test.connect_as_superuser(DATABASE)?,
            production: production.connect_as_superuser(DATABASE)?,
            out,
            summary: Summary::default(),
            started: Instant::now(),
            step: 0,
        };
        job.test.batch_execute("SET client_min_messages = error; CREATE EXTENSION opdb CASCADE")?;
        job.production.batch_execute(&format!(
            "CREATE TABLE raw_events (
                 id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                 source      text NOT NULL,
                 source_id   varchar(8) NOT NULL UNIQUE,
                 occurred_at timestamptz NOT NULL,
                 payload     jsonb NOT NULL,
                 created_at  timestamptz NOT NULL DEFAULT now(),
                 processed   boolean NOT NULL DEFAULT false
             );
             CREATE ROLE {DEPLOYER} LOGIN PASSWORD '{DEPLOYER_PASSWORD}';
             GRANT SELECT, INSERT, UPDATE, DELETE ON raw_events TO {DEPLOYER};
             GRANT CREATE ON DATABASE {DATABASE} TO {DEPLOYER}"
        ))?;
        Ok(job)
    }

    fn environments(&mut self, production: &Cluster) -> anyhow::Result<()> {
        self.headline("environments: this is test, and it knows production")?;
        self.test.execute("SELECT opdb.set_environment('test', 'test')", &[])?;
        let options = serde_json::json!({
            "host": production.host(), "port": production.port(), "dbname": DATABASE,
        });
        let credentials = serde_json::json!({"user": DEPLOYER, "password": DEPLOYER_PASSWORD});
        self.test.execute(
            "SELECT opdb.register_environment('production', 'production', $1::text::jsonb, $2::text::jsonb)",
            &[&options.to_string(), &credentials.to_string()],
        )?;
        self.show("SELECT name, kind, is_production, target, how FROM opdb.current_environment()")?;
        self.show(
            "SELECT name, reachable, round(latency_ms::numeric, 2) AS latency_ms, server_version, in_recovery,
                    read_only, database, role FROM opdb.check_environment('production')",
        )?;
        Ok(())
    }

    fn ingest(&mut self) -> anyhow::Result<()> {
        self.headline("ingest: a week of earthquakes, twice, and three broken records")?;
        let feed = feed()?;
        self.test.execute("SELECT opdb.create_event_table('raw_events', start_at => '2018-01-31')", &[])?;
        self.summary.first_feed = self.feed(&feed)?;
        self.summary.second_feed = self.feed(&feed)?;
        self.summary.broken = ingested(
            &self.test.query_one("SELECT * FROM opdb.ingest('raw_events', $1::text::jsonb)", &[&BROKEN])?,
        );
        let runs = [&self.summary.first_feed, &self.summary.second_feed, &self.summary.broken];
        for (name, run) in ["the feed", "the feed again", "broken records"].into_iter().zip(runs) {
            let Ingested { inserted, duplicates, rejected } = run;
            writeln!(
                self.out,
                "    {name}: {inserted} inserted, {duplicates} duplicates, {rejected} rejected"
            )?;
        }
        self.show("SELECT id, source, source_id, sqlstate, error FROM opdb.dead_letters ORDER BY id")?;
        self.show(
            "SELECT tableoid::regclass AS partition, count(*) AS events, count(DISTINCT source) AS sources
             FROM raw_events GROUP BY 1 ORDER BY 1::text",
        )?;
        self.summary.dead_letters = number(&mut self.test, "SELECT count(*) FROM opdb.dead_letters")?;
        self.summary.partitions = number(
            &mut self.test,
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'raw_events'::regclass",
        )?;
        Ok(())
    }

    fn feed(&mut self, feed: &str) -> anyhow::Result<Ingested> {
        let sql = format!(
            "SELECT i.* FROM (SELECT $1::text::jsonb AS document) feed,
                    LATERAL opdb.ingest('raw_events', ({AS_RECORDS})) i"
        );
        Ok(ingested(&self.test.query_one(&sql, &[&feed])?))
    }

    fn validate(&mut self) -> anyhow::Result<()> {
        self.headline("schema: captured, and validated against the capture")?;
        self.show("SELECT opdb.capture_schema() AS fingerprint")?;
        self.show(
            "SELECT v ->> 'valid' AS valid, v ->> 'columns_match' AS columns, v ->> 'data_types_match' AS data_types,
                    v ->> 'constraints_match' AS constraints, v ->> 'indexes_match' AS indexes
             FROM opdb.validate_schema() v",
        )?;
        self.summary.schema_valid =
            self.test.query_one("SELECT (opdb.validate_schema() ->> 'valid')::boolean", &[])?.try_get(0)?;
        Ok(())
    }

    fn score(&mut self) -> anyhow::Result<()> {
        self.headline("quality: what the table implies, and two rules of our own")?;
        self.test.batch_execute(
            r#"SELECT opdb.add_quality_rule('raw_events', 'accuracy', 'expression', '{}',
                   '{"expression": "(payload ->> ''mag'')::numeric BETWEEN -2 AND 10"}', threshold => 0.999);
               SELECT opdb.add_quality_rule('raw_events', 'completeness', 'expression', '{}',
                   '{"expression": "coalesce(payload ->> ''place'', '''') <> ''''"}', threshold => 0.99)"#,
        )?;
        self.show(
            "SELECT r.run_id, r.rows, r.completeness, r.accuracy, r.consistency, r.integrity, r.score, r.coverage,
                    r.passed, r.reason FROM opdb.quality_score('raw_events') r",
        )?;
        self.show(
            "SELECT q.dimension, q.rule, q.columns, q.passed || '/' || q.evaluated AS passed, q.status, q.evidence
             FROM opdb.quality_report((SELECT max(run_id) FROM opdb.quality_run)) q WHERE q.rule_id IS NOT NULL",
        )?;
        let run = self.test.query_one(
            "SELECT score::text, passed FROM opdb.quality_run ORDER BY run_id DESC LIMIT 1",
            &[],
        )?;
        (self.summary.score, self.summary.quality_passed) = (run.try_get(0)?, run.try_get(1)?);
        Ok(())
    }

    fn compare(&mut self) -> anyhow::Result<()> {
        self.headline("compatibility: production has source_id varchar(8)")?;
        self.show(
            "SELECT aspect, object, verdict, local, remote FROM opdb.check_compatibility('production', '{raw_events}')
             WHERE blocking",
        )?;
        self.show(
            "SELECT local_column, local_type, remote_type, verdict, evidence
             FROM opdb.verify_column_mapping('production', 'raw_events') WHERE verdict <> 'identical'",
        )?;
        self.summary.blocking_before = self.blocking()?;
        self.summary.refused = self.promote()?;
        self.summary.rows_after_refusal = number(&mut self.production, "SELECT count(*) FROM raw_events")?;
        let Deployment { state, error, .. } = &self.summary.refused;
        writeln!(self.out, "    deploy: {state}, {}", error.as_deref().unwrap_or(""))?;
        writeln!(
            self.out,
            "    production has {} rows; now its column is widened",
            self.summary.rows_after_refusal
        )?;
        self.production.batch_execute("ALTER TABLE raw_events ALTER source_id TYPE text")?;
        self.summary.blocking_after = self.blocking()?;
        Ok(())
    }

    fn blocking(&mut self) -> anyhow::Result<Vec<String>> {
        let rows = self.test.query(
            "SELECT object || ': ' || verdict FROM opdb.check_compatibility('production', '{raw_events}') WHERE blocking",
            &[],
        )?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    fn deploy(&mut self) -> anyhow::Result<()> {
        self.headline("deployment: checked, staged, verified, upserted in one transaction; then once more")?;
        self.show("SELECT * FROM opdb.pre_deployment_check('production', '{raw_events}')")?;
        self.summary.applied = self.promote()?;
        self.summary.repeated = self.promote()?;
        self.show(
            "SELECT deployment_id AS id, state, rows, inserted, updated, unchanged, quality_score,
                    round(duration_ms::numeric) AS ms, left(digest, 16) AS digest
             FROM opdb.deployments ORDER BY deployment_id",
        )?;
        Ok(())
    }

    fn promote(&mut self) -> anyhow::Result<Deployment> {
        let id: i64 =
            self.test.query_one("SELECT opdb.deploy('production', '{raw_events}')", &[])?.try_get(0)?;
        let row = self.test.query_one(
            "SELECT state, inserted, updated, unchanged, error FROM opdb.deployments WHERE deployment_id = $1",
            &[&id],
        )?;
        Ok(Deployment {
            state: row.try_get(0)?,
            inserted: row.try_get(1)?,
            updated: row.try_get(2)?,
            unchanged: row.try_get(3)?,
            error: row.try_get(4)?,
        })
    }

    /// Looks at both servers from outside of opdb.
    fn conclude(&mut self) -> anyhow::Result<()> {
        const ROWS: &str = "SELECT count(*), md5(string_agg(concat_ws('|', source, source_id,
                                extract(epoch FROM occurred_at), payload), '' ORDER BY source_id COLLATE \"C\"))
                            FROM raw_events";
        let (here, there) = (self.test.query_one(ROWS, &[])?, self.production.query_one(ROWS, &[])?);
        self.summary.rows_in_production = there.try_get(0)?;
        self.summary.same_rows = here.try_get::<_, i64>(0)? == there.try_get::<_, i64>(0)?
            && here.try_get::<_, String>(1)? == there.try_get::<_, String>(1)?;
        let same = if self.summary.same_rows { "the same rows as test" } else { "OTHER ROWS THAN TEST" };
        let seconds = self.started.elapsed().as_secs_f64();
        writeln!(
            self.out,
            "\n  production holds {} events, {same}, in {seconds:.1} s from the first step",
            self.summary.rows_in_production
        )?;
        Ok(())
    }

    fn headline(&mut self, title: &str) -> anyhow::Result<()> {
        self.step += 1;
        let seconds = self.started.elapsed().as_secs_f64();
        writeln!(self.out, "\n  {}. {title}  [{seconds:.1} s]", self.step)?;
        Ok(())
    }

    fn show(&mut self, sql: &str) -> anyhow::Result<()> {
        let messages: Vec<SimpleQueryMessage> = self.test.simple_query(sql)?;
        writeln!(self.out, "{}", table::render(&messages))?;
        Ok(())
    }
}

fn ingested(row: &postgres::Row) -> Ingested {
    Ingested { inserted: row.get(0), duplicates: row.get(1), rejected: row.get(2) }
}

fn number(client: &mut Client, sql: &str) -> anyhow::Result<i64> {
    Ok(client.query_one(sql, &[])?.try_get(0)?)
}
