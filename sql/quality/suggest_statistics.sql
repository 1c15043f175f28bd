-- What ANALYZE found, as far as the caller may see it: the distinct values (negative: as a share of the rows), and of
-- numbers and times the common values and the bounds of the histogram, times in seconds since 1970.
-- $1, $2: schema and name of the relation; $3, $4: the names of its columns of numbers, and of times.
SELECT DISTINCT ON (s.attname) s.attname::text, s.n_distinct::pg_catalog.float8,
       CASE WHEN s.attname = ANY ($3) THEN ARRAY(
                SELECT v.value::pg_catalog.float8
                FROM pg_catalog.unnest(coalesce(s.histogram_bounds::pg_catalog.text::pg_catalog.numeric[], '{}')
                                       || coalesce(s.most_common_vals::pg_catalog.text::pg_catalog.numeric[], '{}'))
                     v (value)
                WHERE v.value > -1e300 AND v.value < 1e300)
            WHEN s.attname = ANY ($4) THEN ARRAY(
                SELECT EXTRACT(epoch FROM v.value)::pg_catalog.float8
                FROM pg_catalog.unnest(coalesce(s.histogram_bounds::pg_catalog.text::pg_catalog.timestamptz[], '{}')
                                       || coalesce(s.most_common_vals::pg_catalog.text::pg_catalog.timestamptz[], '{}'))
                     v (value)
                WHERE pg_catalog.isfinite(v.value)) END
FROM pg_catalog.pg_stats s
WHERE s.schemaname = $1 AND s.tablename = $2
ORDER BY s.attname, s.inherited DESC
