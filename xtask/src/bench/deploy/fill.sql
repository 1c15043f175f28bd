-- What it has in so many rows as the setting bench.rows says.
INSERT INTO item
SELECT i, 'C-' || lpad(i::text, 9, '0'), 'item ' || md5(i::text)::varchar(20), hashint8(i) & 65535,
       (hashint8(i + 1) % 1000000)::numeric / 100, CASE WHEN i % 5 <> 0 THEN hashint8(i + 2)::float8 / 977 END,
       timestamptz '2024-01-01' + i * interval '13 s', i % 3 = 0,
       CASE WHEN i % 7 <> 0 THEN repeat(md5((i * 7)::text), 1 + (i % 3)::int) END,
       CASE WHEN i % 4 <> 0 THEN md5((i * 3)::text)::uuid END
FROM generate_series(1, current_setting('bench.rows')::bigint) i;
