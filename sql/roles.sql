-- The three roles that opdb's functions are granted to. They belong to the cluster, so an extension in a
-- second database finds them there, and dropping the extension leaves them.
DO $$
DECLARE
    role_name text;
BEGIN
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
