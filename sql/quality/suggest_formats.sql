-- What a text can be beside a text. rule and argument: what is proposed; name: what the column's name must match, the
-- values alone say too little; condition: what holds for such a {value}; what: how a person calls them. Of several that
-- hold the first counts.
SELECT f.rule, f.argument, f.name, f.condition, f.what
FROM (VALUES
    (1, 'format', 'email', '', $$ opdb.has_format({value}, 'email') $$, 'are e-mail addresses'),
    (2, 'format', 'url', '', $$ opdb.has_format({value}, 'url') $$, 'are URLs'),
    (3, 'format', 'uuid', '', $$ opdb.has_format({value}, 'uuid') $$, 'are UUIDs'),
    (4, 'format', 'date', '', $$ opdb.has_format({value}, 'date') $$, 'are ISO 8601 dates'),
    -- What is no time in every time zone is another type.
    (5, 'format', 'datetime', '',
     $$ {value} ~ 'T.*(Z|[+-][0-9]{2}:[0-9]{2})$' AND opdb.has_format({value}, 'datetime') $$, 'are RFC 3339 times'),
    (6, 'castable', 'timestamp', '',
     $$ CASE WHEN {value} ~ '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?$' AND {value} !~ '^0000'
             THEN pg_catalog.substr({value}, 9, 2)::int4 <= EXTRACT(day FROM (pg_catalog.left({value}, 8) || '01')::date + interval '1 month - 1 day')
             ELSE false END $$,
     'are times without a zone'),
    (7, 'castable', 'timestamptz', '',
     $$ CASE WHEN {value} ~ '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)$' AND {value} !~ '^0000'
             THEN pg_catalog.substr({value}, 9, 2)::int4 <= EXTRACT(day FROM (pg_catalog.left({value}, 8) || '01')::date + interval '1 month - 1 day')
             ELSE false END $$,
     'are times with a zone'),
    (8, 'format', 'ipv4', '', $$ opdb.has_format({value}, 'ipv4') $$, 'are IPv4 addresses'),
    (9, 'format', 'ipv6', '', $$ opdb.has_format({value}, 'ipv6') $$, 'are IPv6 addresses'),
    (10, 'format', 'country', '(^|_)(country|nation|nationality)(_?(code|iso|iso2))?$',
     $$ opdb.has_format({value}, 'country') $$, 'are ISO 3166 country codes'),
    (11, 'format', 'currency', '(^|_)currency(_?(code|iso))?$',
     $$ opdb.has_format({value}, 'currency') $$, 'are ISO 4217 currency codes'),
    (12, 'format', 'language', '(^|_)(language|lang|locale)(_?(code|iso))?$',
     $$ opdb.has_format({value}, 'language') $$, 'are ISO 639 language codes'),
    -- A number is JSON too.
    (13, 'format', 'json', '', $$ {value} ~ '^[[:space:]]*[{[]' AND opdb.has_format({value}, 'json') $$,
     'are JSON documents'),
    -- Not with leading zeros: that is a code.
    (14, 'castable', 'integer', '', $$ {value} ~ '^[+-]?(0|[1-9][0-9]{0,8})$' $$, 'are whole numbers'),
    (15, 'castable', 'bigint', '', $$ {value} ~ '^[+-]?(0|[1-9][0-9]{0,17})$' $$, 'are whole numbers'),
    (16, 'castable', 'numeric', '', $$ {value} ~ '^[+-]?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?$' $$, 'are numbers'),
    (17, 'castable', 'boolean', '', $$ pg_catalog.lower({value}) IN ('true', 'false', 't', 'f', 'yes', 'no', 'y', 'n') $$,
     'are truth values')
) AS f (place, rule, argument, name, condition, what)
ORDER BY f.place
