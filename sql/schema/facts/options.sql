-- Options as JSON, sorted, or NULL. pg_attver is the server's own mark, not an option that anybody set.
(SELECT pg_catalog.json_agg(o ORDER BY o COLLATE "C")::text FROM pg_catalog.unnest($options) o WHERE o NOT LIKE 'pg\_attver=%')
