-- The tables, views, functions and triggers of a database of feeds, a schema for every 200 tables. bench.tables says
-- how many tables. Commits as it goes: one transaction would hold a lock on each of them.
DO $do$
DECLARE
    feed text;
    previous text;
    this text;
BEGIN
    CREATE FUNCTION public.refuse_old() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN IF NEW.occurred_at < OLD.occurred_at THEN RETURN NULL; END IF; RETURN NEW; END';
    FOR n IN 0 .. pg_catalog.current_setting('bench.tables')::int - 1 LOOP
        IF n % 200 = 0 THEN
            COMMIT;
            feed := 'feed_' || n / 200;
            EXECUTE 'CREATE SCHEMA ' || feed;
        END IF;
        this := feed || '.events_' || n;
        EXECUTE pg_catalog.format($sql$
            CREATE TABLE %1$s (
                id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                source      text NOT NULL,
                source_id   varchar(40) NOT NULL,
                kind        varchar(20) NOT NULL CHECK (kind IN ('a', 'b')),
                occurred_at timestamptz NOT NULL,
                payload     jsonb NOT NULL DEFAULT '{}',
                amount      numeric(12, 2),
                parent_id   bigint,
                created_at  timestamptz NOT NULL DEFAULT now(),
                UNIQUE (source, source_id)
            );
            CREATE INDEX ON %1$s (occurred_at);
            COMMENT ON TABLE %1$s IS 'Events of feed number %2$s';
            COMMENT ON COLUMN %1$s.payload IS 'As it came from the feed';
            $sql$, this, n);
        IF n % 2 = 1 THEN
            EXECUTE pg_catalog.format('ALTER TABLE %s ADD FOREIGN KEY (parent_id) REFERENCES %s', this, previous);
        END IF;
        IF n % 4 = 0 THEN
            EXECUTE pg_catalog.format('CREATE INDEX ON %s (kind, occurred_at DESC)', this);
        ELSIF n % 4 = 2 THEN
            EXECUTE pg_catalog.format('CREATE INDEX ON %s (parent_id) WHERE parent_id IS NOT NULL', this);
        END IF;
        IF n % 5 = 0 THEN
            EXECUTE pg_catalog.format('CREATE TRIGGER refuse_old BEFORE UPDATE ON %s FOR EACH ROW
                WHEN (OLD.payload IS DISTINCT FROM NEW.payload) EXECUTE FUNCTION public.refuse_old()', this);
        END IF;
        IF n % 10 = 0 THEN
            EXECUTE pg_catalog.format('CREATE VIEW %s.daily_%s AS
                SELECT date_trunc(''day'', e.occurred_at) AS day, e.kind, count(*) AS events, sum(e.amount) AS amount
                FROM %s e WHERE e.kind = ''a'' GROUP BY 1, 2', feed, n, this);
            EXECUTE pg_catalog.format('CREATE FUNCTION %s.latest_%s(kind text, since timestamptz DEFAULT NULL)
                RETURNS timestamptz LANGUAGE sql STABLE AS
                ''SELECT max(occurred_at) FROM %s e WHERE e.kind = $1 AND e.occurred_at > $2''', feed, n, this);
        END IF;
        previous := this;
    END LOOP;
END
$do$
