-- What a text can be beside a text. rule and argument: what is proposed; name: what the column's name must match, the
-- values alone say too little; condition: what holds for such a {value}; what: how a person calls them. Of several that
-- hold the first counts.
SELECT f.rule, f.argument, f.name, f.condition, f.what
FROM (VALUES
    (1, 'format', 'email', '',
     $$ {value} ~ '^[A-Za-z0-9!#$%&''*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&''*+/=?^_`{|}~-]+)*@([A-Za-z0-9]+(-+[A-Za-z0-9]+)*\.)+[A-Za-z]{2,63}$'
        AND pg_catalog.strpos({value}, '@') <= 65 AND pg_catalog.char_length({value}) <= 254
        AND (pg_catalog.char_length({value}) < 64 OR {value} !~ '@.*[^.]{64}') $$,
     'look like e-mail addresses'),
    (2, 'format', 'url', '',
     $$ {value} ~ '^https?://([A-Za-z0-9]+(-+[A-Za-z0-9]+)*\.)*[A-Za-z][A-Za-z0-9]*(-+[A-Za-z0-9]+)*(:[0-9]{1,4}|:[1-5][0-9]{4})?([/?][A-Za-z0-9._~:/?@!$&''()*+,;=%-]*)?(#[A-Za-z0-9._~:/?@!$&''()*+,;=%-]*)?$'
        AND {value} !~ '%(?![0-9A-Fa-f]{2})'
        AND (pg_catalog.char_length({value}) < 64 OR {value} !~ '^https?://[^:/?#]*[^.:/?#]{64}') $$,
     'look like URLs'),
    (3, 'format', 'uuid', '',
     $$ {value} ~ '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' $$,
     'look like UUIDs'),
    (4, 'format', 'date', '',
     $$ CASE WHEN {value} ~ '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$' AND {value} !~ '^0000'
             THEN pg_catalog.right({value}, 2)::int4 <= EXTRACT(day FROM (pg_catalog.left({value}, 8) || '01')::date + interval '1 month - 1 day')
             ELSE false END $$,
     'are ISO 8601 dates'),
    (5, 'format', 'datetime', '',
     $$ CASE WHEN {value} ~ '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$' AND {value} !~ '^0000'
             THEN pg_catalog.substr({value}, 9, 2)::int4 <= EXTRACT(day FROM (pg_catalog.left({value}, 8) || '01')::date + interval '1 month - 1 day')
             ELSE false END $$,
     'are RFC 3339 times'),
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
    (8, 'format', 'ipv4', '',
     $$ {value} ~ '^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])$' $$,
     'are IPv4 addresses'),
    (9, 'format', 'ipv6', '',
     $$ {value} ~ '^([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}$'
        OR {value} ~ '^(([0-9A-Fa-f]{1,4}:)*[0-9A-Fa-f]{1,4})?::(([0-9A-Fa-f]{1,4}:)*[0-9A-Fa-f]{1,4})?$'
           AND {value} !~ '([^:]*:){8}' $$,
     'are IPv6 addresses'),
    (10, 'format', 'country', '(^|_)(country|nation|nationality)(_?(code|iso|iso2))?$',
     $$ {value} ~ '^[A-Z]{2}$' $$,
     'have the shape of ISO 3166 country codes'),
    (11, 'format', 'currency', '(^|_)currency(_?(code|iso))?$',
     $$ {value} ~ '^[A-Z]{3}$' $$,
     'have the shape of ISO 4217 currency codes'),
    (12, 'format', 'language', '(^|_)(language|lang|locale)(_?(code|iso))?$',
     $$ {value} ~ '^[a-z]{2}$' $$,
     'have the shape of ISO 639 language codes'),
    -- What could stand for it; the server's own parser decides.
    (13, 'format', 'json', '',
     $$ {value} ~ '^[[:space:]]*(\{.*\}|\[.*\])[[:space:]]*$' $$,
     'are JSON documents'),
    -- Not with leading zeros: that is a code.
    (14, 'castable', 'integer', '', $$ {value} ~ '^[+-]?(0|[1-9][0-9]{0,8})$' $$, 'are whole numbers'),
    (15, 'castable', 'bigint', '', $$ {value} ~ '^[+-]?(0|[1-9][0-9]{0,17})$' $$, 'are whole numbers'),
    (16, 'castable', 'numeric', '', $$ {value} ~ '^[+-]?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?$' $$, 'are numbers'),
    (17, 'castable', 'boolean', '', $$ pg_catalog.lower({value}) IN ('true', 'false', 't', 'f', 'yes', 'no', 'y', 'n') $$,
     'are truth values')
) AS f (place, rule, argument, name, condition, what)
ORDER BY f.place
