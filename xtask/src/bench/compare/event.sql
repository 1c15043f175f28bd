-- A table of ten columns, and what makes the row of a key.
CREATE TABLE event (
    id          bigint PRIMARY KEY,
    source      text,
    source_id   varchar(32),
    occurred_at timestamptz,
    amount      numeric(12, 2),
    score       double precision,
    active      boolean,
    note        text,
    ref         uuid,
    n           integer
);
CREATE FUNCTION made_event(first bigint, last bigint) RETURNS SETOF event LANGUAGE sql STABLE AS $$
    SELECT i, 'source-' || i % 40, 'id-' || md5(i::text)::varchar(20), timestamptz '2024-01-01' + i * interval '13 s',
           (hashint8(i) % 1000000)::numeric / 100, hashint8(i + 1)::float8 / 977, i % 3 = 0,
           CASE WHEN i % 7 <> 0 THEN repeat(md5((i * 7)::text), 1 + (i % 3)::int) END,
           md5((i * 3)::text)::uuid, hashint8(i + 5)
    FROM generate_series(first, last) i
$$;
