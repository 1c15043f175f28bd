//! Settings of a session that decide what the server prints.

/// With these, the same catalog row or value has the same text in every session.
pub const PINNED: [(&str, &str); 13] = [
    ("search_path", "pg_catalog, pg_temp"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("standard_conforming_strings", "on"),
    ("quote_all_identifiers", "off"),
    ("lc_monetary", "C"),
    ("xmloption", "content"),
    ("xmlbinary", "base64"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
];
