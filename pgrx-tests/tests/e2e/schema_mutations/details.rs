//! What aggregates and base types consist of. Nothing alters them, but making them anew, so the catalog is written to.

use super::case::{Case, case};

macro_rules! aggregate {
    ($column:literal, $value:literal, $before:literal) => {
        aggregate!($column, $value, $before, "moving", "app.moving(double precision)")
    };
    ($column:literal, $value:literal, $before:literal, $name:literal, $object:literal) => {
        case(
            concat!(
                "UPDATE pg_aggregate SET ",
                $column,
                " = ",
                $value,
                " WHERE aggfnoid = 'app.",
                $name,
                "'::regproc"
            ),
            concat!(
                "UPDATE pg_aggregate SET ",
                $column,
                " = ",
                $before,
                " WHERE aggfnoid = 'app.",
                $name,
                "'::regproc"
            ),
            &[concat!("objects aggregate ", $object, " changed: aggregate")],
        )
    };
}

macro_rules! base_type {
    ($column:literal, $value:literal, $before:literal) => {
        case(
            concat!("UPDATE pg_type SET ", $column, " = ", $value, " WHERE typname = 'opaque'"),
            concat!("UPDATE pg_type SET ", $column, " = ", $before, " WHERE typname = 'opaque'"),
            &["data_types base_type app.opaque changed: base"],
        )
    };
}

pub const AGGREGATES: &[Case] = &[
    aggregate!("aggkind", "'h'", "'o'", "middle", "app.middle(double precision ORDER BY integer)"),
    aggregate!("aggnumdirectargs", "1", "0"),
    aggregate!("aggtranstype", "'float8'::regtype", "'float8[]'::regtype"),
    aggregate!("aggtransspace", "8", "0"),
    aggregate!("aggfinalfn", "'float8_stddev_pop'::regproc", "'float8_avg'::regproc"),
    aggregate!("aggfinalextra", "true", "false"),
    aggregate!("aggfinalmodify", "'w'", "'r'"),
    aggregate!("aggcombinefn", "0", "'float8_combine'::regproc"),
    aggregate!("aggserialfn", "'int8_avg_serialize'::regproc", "0"),
    aggregate!("aggdeserialfn", "'int8_avg_deserialize'::regproc", "0"),
    aggregate!("aggmtransfn", "'float8mi'::regproc", "'float8pl'::regproc"),
    aggregate!("aggmtranstype", "'float4'::regtype", "'float8'::regtype"),
    aggregate!("aggmtransspace", "8", "0"),
    aggregate!("aggmfinalfn", "'float8abs'::regproc", "0"),
    aggregate!("aggmfinalextra", "true", "false"),
    aggregate!("aggmfinalmodify", "'w'", "'r'"),
];

pub const BASE_TYPES: &[Case] = &[
    base_type!("typisdefined", "false", "true"),
    base_type!("typinput", "'textin'::regproc", "'app.opaque_in'::regproc"),
    base_type!("typoutput", "'textout'::regproc", "'app.opaque_out'::regproc"),
    base_type!("typsubscript", "'raw_array_subscript_handler'::regproc", "0"),
    base_type!("typlen", "8", "-1"),
    base_type!("typbyval", "true", "false"),
    base_type!("typalign", "'d'", "'i'"),
    base_type!("typelem", "'integer'::regtype", "0"),
];
