CREATE VIEW opdb.index_ledger AS
SELECT ledger_id, index_name, table_name, definition, pg_catalog.array_to_string(undo, E';\n') AS undo, reason, bytes,
       dropped_at, dropped_by, opdb.has_index(table_name, definition) AS restored,
       undo AS undo_statements
FROM opdb.dropped_index;

COMMENT ON VIEW opdb.index_ledger IS
'The indexes that opdb.drop_advised_index dropped, and how to bring them back: undo is to be run by a person, undo_statements is the same, one statement each. restored is whether a valid index of the same definition exists again, NULL while it cannot be told without waiting.';
