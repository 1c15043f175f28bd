-- The privileges of an object, or NULL where they are what its kind has by default: who granted what to whom, sorted
-- by name. All that a server knows for the kind is ALL, because a new version may know one more; * is with grant
-- option.
CASE WHEN $acl IS NOT NULL AND NOT ($acl @> pg_catalog.acldefault($kind, $owner) AND $acl <@ pg_catalog.acldefault($kind, $owner)) THEN
(SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('grantee', g.grantee, 'grantor', g.grantor, 'privileges',
            CASE WHEN g.count < (SELECT pg_catalog.count(*) FROM pg_catalog.aclexplode(pg_catalog.acldefault($kind, 10)) f
                                 WHERE f.grantee = 10) OR g.grantable BETWEEN 1 AND g.count - 1 OR $kind = 'c' THEN g.privileges
                 WHEN g.grantable = 0 THEN '{ALL}'
                 ELSE '{ALL*}' END)
            ORDER BY g.grantee COLLATE "C", g.grantor COLLATE "C"), '[]')
 FROM (SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC'
                   WHEN pg_catalog.pg_get_userbyid(x.grantee) = 'PUBLIC' THEN '"PUBLIC"'
                   ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END AS grantee,
              pg_catalog.pg_get_userbyid(x.grantor)::text AS grantor,
              pg_catalog.count(*) AS count,
              pg_catalog.count(*) FILTER (WHERE x.is_grantable) AS grantable,
              pg_catalog.array_agg(x.privilege_type || CASE WHEN x.is_grantable THEN '*' ELSE '' END
                                   ORDER BY x.privilege_type COLLATE "C") AS privileges
       FROM pg_catalog.aclexplode($acl) x GROUP BY 1, 2) g) END
