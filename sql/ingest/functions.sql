-- The records of one opdb.ingest call, each with its parts or with what is wrong with it.
CREATE FUNCTION opdb.event_records(records jsonb)
RETURNS TABLE ("position" bigint, record jsonb, source text, source_id text, occurred_at timestamptz,
               payload jsonb, sqlstate text, error text)
LANGUAGE sql STABLE STRICT PARALLEL SAFE
-- Parsed here and now: no search_path of a later day changes what it means.
BEGIN ATOMIC
    SELECT e.position, e.record,
           e.record ->> 'source', e.record ->> 'source_id', t.occurred_at, e.record -> 'payload',
           p.problem[1], p.problem[2]
    FROM pg_catalog.jsonb_array_elements(records) WITH ORDINALITY AS e (record, "position")
    CROSS JOIN LATERAL (
        SELECT CASE WHEN pg_catalog.jsonb_typeof(e.record -> 'occurred_at') = 'string'
                    THEN opdb.iso8601_timestamp(e.record ->> 'occurred_at') END AS occurred_at
    ) t
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN pg_catalog.jsonb_typeof(e.record) <> 'object'
                THEN ARRAY['22023', 'the record is not an object: ' || pg_catalog.jsonb_typeof(e.record)]
            WHEN extra.keys IS NOT NULL
                THEN ARRAY['22023', 'the record has keys that have no place, move them into "payload": ' || extra.keys]
            WHEN pg_catalog.jsonb_typeof(e.record -> 'source') IS DISTINCT FROM 'string'
              OR e.record ->> 'source' !~ '[^[:space:]]'
                THEN ARRAY['23502', '"source" is missing, empty or not a string']
            WHEN pg_catalog.jsonb_typeof(e.record -> 'source_id') IS DISTINCT FROM 'string'
              OR e.record ->> 'source_id' !~ '[^[:space:]]'
                THEN ARRAY['23502', '"source_id" is missing, empty or not a string']
            WHEN pg_catalog.octet_length(e.record ->> 'source') > 1024
              OR pg_catalog.octet_length(e.record ->> 'source_id') > 1024
                THEN ARRAY['22001', '"source" or "source_id" is longer than 1024 bytes']
            WHEN pg_catalog.jsonb_typeof(e.record -> 'occurred_at') IS DISTINCT FROM 'string'
                THEN ARRAY['23502', '"occurred_at" is missing or not a string']
            WHEN t.occurred_at IS NULL
                THEN ARRAY['22007', '"occurred_at" is not an ISO 8601 time with a UTC offset: '
                                  || pg_catalog.left(e.record ->> 'occurred_at', 100)]
            WHEN pg_catalog.jsonb_typeof(e.record -> 'payload') IS DISTINCT FROM 'object'
                THEN ARRAY['23502', '"payload" is missing or not an object']
            END AS problem
        FROM (
            SELECT pg_catalog.string_agg(k.key, ', ' ORDER BY k.key) AS keys
            FROM pg_catalog.jsonb_object_keys(
                     CASE WHEN pg_catalog.jsonb_typeof(e.record) = 'object' THEN e.record ELSE '{}' END) AS k (key)
            WHERE k.key NOT IN ('source', 'source_id', 'occurred_at', 'payload')
        ) extra
    ) p;
END;
COMMENT ON FUNCTION opdb.event_records IS
'The records of a JSON array as opdb.ingest reads them: each with source, source_id, occurred_at and payload, or with the SQLSTATE and the error for which it would be rejected.';
