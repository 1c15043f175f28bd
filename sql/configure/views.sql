CREATE VIEW opdb.settings AS
SELECT d.name, coalesce(s.value, d.default_value) AS value, d.default_value, d.description, s.changed_at, s.changed_by
FROM opdb.setting_defaults() d LEFT JOIN opdb.setting s USING (name);

COMMENT ON VIEW opdb.settings IS
'What opdb.set_setting(name, value) can change in this database, with what it is for.';
