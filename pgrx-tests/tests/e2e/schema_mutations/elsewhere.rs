//! Extensions, foreign servers, publications and subscriptions.

use super::case::{Case, case};

pub const FOREIGN: &[Case] = &[
    case(
        "CREATE EXTENSION pgstattuple SCHEMA more",
        "DROP EXTENSION pgstattuple",
        &["objects extension pgstattuple unexpected"],
    ),
    case("DROP EXTENSION hstore", HSTORE, &["objects extension hstore missing"]),
    case(
        "ALTER EXTENSION hstore UPDATE TO '1.8'",
        "DROP EXTENSION hstore; CREATE EXTENSION hstore WITH SCHEMA more VERSION '1.4'",
        &["objects extension hstore changed: version"],
    ),
    case(
        "UPDATE pg_extension SET extnamespace = 'app'::regnamespace WHERE extname = 'hstore'",
        "UPDATE pg_extension SET extnamespace = 'more'::regnamespace WHERE extname = 'hstore'",
        &["objects extension hstore changed: schema"],
    ),
    case(
        "CREATE FOREIGN DATA WRAPPER other",
        "DROP FOREIGN DATA WRAPPER other",
        &["objects foreign_data_wrapper other unexpected"],
    ),
    case(
        "ALTER FOREIGN DATA WRAPPER app_wrapper HANDLER postgres_fdw_handler",
        "ALTER FOREIGN DATA WRAPPER app_wrapper NO HANDLER",
        &["objects foreign_data_wrapper app_wrapper changed: handler"],
    ),
    case(
        "ALTER FOREIGN DATA WRAPPER app_other_wrapper VALIDATOR postgres_fdw_validator",
        "ALTER FOREIGN DATA WRAPPER app_other_wrapper NO VALIDATOR",
        &["objects foreign_data_wrapper app_other_wrapper changed: validator"],
    ),
    case(
        "ALTER FOREIGN DATA WRAPPER app_wrapper OPTIONS (SET mode 'b')",
        "ALTER FOREIGN DATA WRAPPER app_wrapper OPTIONS (SET mode 'a')",
        &["objects foreign_data_wrapper app_wrapper changed: options"],
    ),
    case(
        "CREATE SERVER other FOREIGN DATA WRAPPER app_wrapper",
        "DROP SERVER other",
        &["objects server other unexpected"],
    ),
    case(
        "DROP SERVER app_other_server; CREATE SERVER app_other_server FOREIGN DATA WRAPPER app_other_wrapper",
        "DROP SERVER app_other_server; CREATE SERVER app_other_server FOREIGN DATA WRAPPER app_wrapper",
        &["objects server app_other_server changed: wrapper"],
    ),
    case(
        "DROP SERVER app_other_server; CREATE SERVER app_other_server TYPE 'x' FOREIGN DATA WRAPPER app_wrapper",
        "DROP SERVER app_other_server; CREATE SERVER app_other_server FOREIGN DATA WRAPPER app_wrapper",
        &["objects server app_other_server changed: type"],
    ),
    case(
        "ALTER SERVER app_server VERSION '2'",
        "ALTER SERVER app_server VERSION '1'",
        &["objects server app_server changed: version"],
    ),
    case(
        "ALTER SERVER app_server OPTIONS (SET host 'b')",
        "ALTER SERVER app_server OPTIONS (SET host 'a')",
        &["objects server app_server changed: options"],
    ),
    case(
        "CREATE USER MAPPING FOR app_writer SERVER app_server",
        "DROP USER MAPPING FOR app_writer SERVER app_server",
        &["objects user_mapping FOR app_writer SERVER app_server unexpected"],
    ),
    case(
        "ALTER USER MAPPING FOR app_reader SERVER app_server OPTIONS (SET user 'other')",
        "ALTER USER MAPPING FOR app_reader SERVER app_server OPTIONS (SET user 'remote')",
        &["objects user_mapping FOR app_reader SERVER app_server changed: options"],
    ),
    case(
        "ALTER USER MAPPING FOR PUBLIC SERVER app_server OPTIONS (ADD password 'x')",
        "ALTER USER MAPPING FOR PUBLIC SERVER app_server OPTIONS (DROP password)",
        &["objects user_mapping FOR public SERVER app_server changed: options"],
    ),
];

const HSTORE: &str = "CREATE EXTENSION hstore WITH SCHEMA more VERSION '1.4'";

pub const REPLICATION: &[Case] = &[
    case("CREATE PUBLICATION other", "DROP PUBLICATION other", &["objects publication other unexpected"]),
    case(
        "UPDATE pg_publication SET puballtables = true WHERE pubname = 'app_publication'",
        "UPDATE pg_publication SET puballtables = false WHERE pubname = 'app_publication'",
        &["objects publication app_publication changed: all_tables"],
    ),
    case(
        "ALTER PUBLICATION app_publication SET (publish = 'update')",
        PUBLISH,
        &["objects publication app_publication changed: insert"],
    ),
    case(
        "ALTER PUBLICATION app_publication SET (publish = 'insert')",
        PUBLISH,
        &["objects publication app_publication changed: update"],
    ),
    case(
        "ALTER PUBLICATION app_publication SET (publish = 'insert, update, delete')",
        PUBLISH,
        &["objects publication app_publication changed: delete"],
    ),
    case(
        "ALTER PUBLICATION app_publication SET (publish = 'insert, update, truncate')",
        PUBLISH,
        &["objects publication app_publication changed: truncate"],
    ),
    case(
        "ALTER PUBLICATION app_publication SET (publish_via_partition_root = true)",
        "ALTER PUBLICATION app_publication SET (publish_via_partition_root = false)",
        &["objects publication app_publication changed: via_root"],
    ),
    case(
        "ALTER PUBLICATION app_publication SET (publish_generated_columns = stored)",
        "ALTER PUBLICATION app_publication SET (publish_generated_columns = none)",
        &["objects publication app_publication changed: generated_columns"],
    )
    .since(18),
    case(
        "ALTER PUBLICATION app_publication ADD TABLE app.scratch",
        "ALTER PUBLICATION app_publication DROP TABLE app.scratch",
        &["objects published_table app_publication (app.scratch) unexpected"],
    ),
    case(
        "ALTER PUBLICATION app_publication SET TABLE app.wide (id, note, code) WHERE (id > 0), app.plain",
        "ALTER PUBLICATION app_publication SET TABLE app.wide (id, note) WHERE (id > 0), app.plain",
        &["objects published_table app_publication (app.wide) changed: column_list"],
    ),
    case(
        "ALTER PUBLICATION app_publication SET TABLE app.wide (id, note) WHERE (id > 1), app.plain",
        "ALTER PUBLICATION app_publication SET TABLE app.wide (id, note) WHERE (id > 0), app.plain",
        &["objects published_table app_publication (app.wide) changed: where"],
    ),
    case(
        "ALTER PUBLICATION app_other_publication ADD TABLES IN SCHEMA empty",
        "ALTER PUBLICATION app_other_publication DROP TABLES IN SCHEMA empty",
        &["objects published_schema app_other_publication (empty) unexpected"],
    ),
    case(
        "ALTER PUBLICATION app_other_publication DROP TABLES IN SCHEMA more",
        "ALTER PUBLICATION app_other_publication ADD TABLES IN SCHEMA more",
        &["objects published_schema app_other_publication (more) missing"],
    ),
    case(
        "CREATE SUBSCRIPTION other CONNECTION '' PUBLICATION one WITH (connect = false, slot_name = NONE)",
        "DROP SUBSCRIPTION other",
        &["objects subscription other unexpected"],
    ),
    case(
        "UPDATE pg_subscription SET subenabled = true WHERE subname = 'app_subscription'",
        "UPDATE pg_subscription SET subenabled = false WHERE subname = 'app_subscription'",
        &["objects subscription app_subscription changed: enabled"],
    ),
    case(
        "ALTER SUBSCRIPTION app_subscription SET (binary = true)",
        "ALTER SUBSCRIPTION app_subscription SET (binary = false)",
        &["objects subscription app_subscription changed: binary"],
    ),
    case(
        "ALTER SUBSCRIPTION app_subscription SET (streaming = true)",
        "ALTER SUBSCRIPTION app_subscription SET (streaming = false)",
        &["objects subscription app_subscription changed: stream"],
    )
    .until(17),
    case(
        "ALTER SUBSCRIPTION app_subscription SET (streaming = on)",
        "ALTER SUBSCRIPTION app_subscription SET (streaming = parallel)",
        &["objects subscription app_subscription changed: stream"],
    )
    .since(18),
    case(
        "UPDATE pg_subscription SET subtwophasestate = 'p' WHERE subname = 'app_subscription'",
        "UPDATE pg_subscription SET subtwophasestate = 'd' WHERE subname = 'app_subscription'",
        &["objects subscription app_subscription changed: two_phase"],
    ),
    case(
        "ALTER SUBSCRIPTION app_subscription SET (disable_on_error = true)",
        "ALTER SUBSCRIPTION app_subscription SET (disable_on_error = false)",
        &["objects subscription app_subscription changed: disable_on_error"],
    ),
    case(
        "ALTER SUBSCRIPTION app_subscription SET (slot_name = 'x')",
        "ALTER SUBSCRIPTION app_subscription SET (slot_name = NONE)",
        &["objects subscription app_subscription changed: slot"],
    ),
    case(
        "ALTER SUBSCRIPTION app_subscription SET (synchronous_commit = 'on')",
        "ALTER SUBSCRIPTION app_subscription SET (synchronous_commit = 'off')",
        &["objects subscription app_subscription changed: synchronous_commit"],
    ),
    case(
        "ALTER SUBSCRIPTION app_subscription SET PUBLICATION one, three WITH (refresh = false)",
        "ALTER SUBSCRIPTION app_subscription SET PUBLICATION one, two WITH (refresh = false)",
        &["objects subscription app_subscription changed: publications"],
    ),
    case(
        "ALTER SUBSCRIPTION app_subscription SET (password_required = false)",
        "ALTER SUBSCRIPTION app_subscription SET (password_required = true)",
        &["objects subscription app_subscription changed: password_required"],
    )
    .since(16),
    case(
        "ALTER SUBSCRIPTION app_subscription SET (run_as_owner = true)",
        "ALTER SUBSCRIPTION app_subscription SET (run_as_owner = false)",
        &["objects subscription app_subscription changed: run_as_owner"],
    )
    .since(16),
    case(
        "ALTER SUBSCRIPTION app_subscription SET (origin = none)",
        "ALTER SUBSCRIPTION app_subscription SET (origin = any)",
        &["objects subscription app_subscription changed: origin"],
    )
    .since(16),
    case(
        "UPDATE pg_subscription SET subfailover = true WHERE subname = 'app_subscription'",
        "UPDATE pg_subscription SET subfailover = false WHERE subname = 'app_subscription'",
        &["objects subscription app_subscription changed: failover"],
    )
    .since(17),
];

const PUBLISH: &str = "ALTER PUBLICATION app_publication SET (publish = 'insert, update')";
