-- The three roles that opdb's functions are granted to. They belong to the cluster, so an extension in a
-- second database finds them there, and dropping the extension leaves them.
DO $$
DECLARE
    role_name text;
BEGIN
    IF pg_catalog.current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'opdb needs a database in UTF8, this one is in %', pg_catalog.current_setting('server_encoding')
            USING ERRCODE = 'feature_not_supported';
    END IF;
    -- Whoever owns the schema could put objects of his own in the place of opdb's.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace
                   WHERE nspname = 'opdb' AND nspowner = pg_catalog.quote_ident(current_user)::pg_catalog.regrole) THEN
        RAISE EXCEPTION 'the schema opdb exists and belongs to another role'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Drop or rename it, then create the extension again.';
    END IF;
    FOREACH role_name IN ARRAY ARRAY['opdb_reader', 'opdb_operator', 'opdb_admin'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database of the cluster made it at the same moment
            END;
        END IF;
    END LOOP;
    GRANT opdb_reader TO opdb_operator;
    GRANT opdb_operator TO opdb_admin;
END
$$;
