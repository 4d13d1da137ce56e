-- Nodes: what is different where the tables are distributed by app over several nodes (distribution.sql), and nothing
-- but that. On a single node there are no nodes to tell, a table is its own place, and no name has a suffix.
--
-- Called by the service, which works for an app on the node that has it (nodes, home, app_of); by recovery, which works
-- on what its node has (on_this_node), as all that works in the background does; by the functions about foreign keys (logical_table, within_app), and
-- by the view audit.traces (traces_of_nodes). Takes no locks.
-- The catalogs of Citus are named in bodies that aren't parsed before they run.

CREATE OR REPLACE FUNCTION service.is_distributed() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('pg_catalog.pg_dist_partition') IS NULL THEN
        RETURN false;
    END IF;
    -- The extension may have come after the tables.
    RETURN EXISTS (SELECT FROM pg_dist_partition AS p WHERE p.logicalrelid = 'public.customers'::regclass);
END
$$;
COMMENT ON FUNCTION service.is_distributed() IS 'Whether the tables are distributed over several nodes by Citus.';

CREATE OR REPLACE FUNCTION service.nodes(OUT node int, OUT host text, OUT port int) RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF service.is_distributed() THEN
        RETURN QUERY
        SELECT n.groupid, n.nodename, n.nodeport
        FROM pg_dist_node AS n
        WHERE n.noderole = 'primary' AND n.isactive
          AND n.groupid IN (
              SELECT p.groupid
              FROM pg_dist_placement AS p
              JOIN pg_dist_shard AS s ON s.shardid = p.shardid
              WHERE s.logicalrelid = 'public.customers'::regclass)
        ORDER BY n.groupid;
    END IF;
END
$$;
COMMENT ON FUNCTION service.nodes IS 'The nodes that have the rows of apps, and where they listen. None on a single node.';

CREATE OR REPLACE FUNCTION service.home(p_app_id uuid) RETURNS int
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT service.is_distributed() THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT p.groupid
        FROM pg_dist_placement AS p
        WHERE p.shardid = get_shard_id_for_distribution_column('public.customers', p_app_id));
END
$$;
COMMENT ON FUNCTION service.home IS 'The node that has the rows of an app. NULL on a single node.';

CREATE OR REPLACE FUNCTION service.app_of(p_client_key text, p_secret_digest bytea) RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce(
        (SELECT k.app_id
         FROM service.api_keys AS k
         WHERE k.client_key = p_client_key AND p_secret_digest IN (k.secret_digest, k.previous_secret_digest)),
        '00000000-0000-0000-0000-000000000000');
END
$$;
COMMENT ON FUNCTION service.app_of IS
    'On which app''s node to decide about credentials: the key''s if they look right, otherwise that of all strangers. It decides nothing itself.';

CREATE OR REPLACE FUNCTION service.shard(p_table regclass, p_shard bigint) RETURNS regclass
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Citus names a shard without its schema if that is public.
    RETURN (
        SELECT to_regclass(format('%I.%I', n.nspname, i.parts[cardinality(i.parts)]))
        FROM pg_class AS t
        JOIN pg_namespace AS n ON n.oid = t.relnamespace
        CROSS JOIN LATERAL parse_ident(shard_name(p_table, p_shard)) AS i (parts)
        WHERE t.oid = p_table);
END
$$;
COMMENT ON FUNCTION service.shard IS 'A shard of a table, if this node has it; otherwise NULL.';

CREATE OR REPLACE FUNCTION service.on_this_node(p_query text, VARIADIC p_tables regclass[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT service.is_distributed() THEN
        RETURN format(p_query, VARIADIC p_tables::text[]);
    END IF;
    RETURN coalesce(
        (SELECT string_agg(format(p_query, VARIADIC h.shards), ' UNION ALL ')
         FROM (SELECT array_agg(l.shard::text ORDER BY t.position) AS shards
               FROM unnest(p_tables) WITH ORDINALITY AS t (name, position)
               JOIN pg_dist_shard AS s ON s.logicalrelid = t.name
               JOIN pg_dist_placement AS p ON p.shardid = s.shardid
               CROSS JOIN LATERAL service.shard(s.logicalrelid, s.shardid) AS l (shard)
               WHERE p.groupid = (SELECT g.groupid FROM pg_dist_local_group AS g) AND l.shard IS NOT NULL
               -- The shards of all tables for one range of apps.
               GROUP BY s.shardminvalue
               HAVING count(*) = cardinality(p_tables)) AS h),
        format('SELECT n.* FROM (' || p_query || ') AS n WHERE false', VARIADIC p_tables::text[]));
END
$$;
COMMENT ON FUNCTION service.on_this_node IS
    'A query, with a %s for each of the tables, over the rows of all apps that this node has, so that it needs no other node: over the tables themselves on a single node, over their shards here on another.';

CREATE OR REPLACE FUNCTION service.logical_table(p_table oid, OUT logical oid, OUT suffix text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    logical := p_table;
    suffix := '';
    IF NOT service.is_distributed() THEN
        RETURN;
    END IF;
    -- By the name alone: Citus hides its shards from who looks into pg_class.
    SELECT s.logicalrelid, '_' || s.shardid INTO logical, suffix
    FROM pg_dist_shard AS s
    WHERE s.shardid = substring(p_table::regclass::text FROM '_([0-9]{1,18})"?$')::bigint
      AND service.shard(s.logicalrelid, s.shardid) = p_table;
    IF NOT FOUND THEN
        logical := p_table;
        suffix := '';
    END IF;
END
$$;
COMMENT ON FUNCTION service.logical_table IS
    'The table that people know, of one of its shards, and what the names of the shard and of its constraints end with. Of any other table it is the table itself.';

CREATE OR REPLACE FUNCTION service.within_app(p_key oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT service.is_distributed() THEN
        RETURN '';
    END IF;
    RETURN (
        SELECT format(' AND p.%I = $1 AND r.%I = $1', column_to_column_name(p.logicalrelid, p.partkey),
                      column_to_column_name(r.logicalrelid, r.partkey))
        FROM pg_constraint AS k
        JOIN pg_dist_partition AS p ON p.logicalrelid = k.confrelid
        JOIN pg_dist_partition AS r ON r.logicalrelid = k.conrelid
        WHERE k.oid = p_key);
END
$$;
COMMENT ON FUNCTION service.within_app IS
    'The condition that both rows of a foreign key are of the app $1, which keeps a query on the app''s node: a key between distributed tables holds the column that they are distributed by. Empty on a single node.';

CREATE OR REPLACE FUNCTION audit.traces_of_nodes(OUT app_id uuid, OUT seq bigint, OUT source text) RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT a.app_id, max(a.entry_seq), 'service.attempts'
    FROM service.attempts AS a
    WHERE a.entry_seq IS NOT NULL
    GROUP BY a.app_id;
    RETURN QUERY
    SELECT r.app_id, max(r.entry_seq), 'service.redactions'
    FROM service.redactions AS r
    WHERE r.entry_seq IS NOT NULL
    GROUP BY r.app_id;
    RETURN QUERY
    SELECT n.app_id, (max(n.index) + 1) * 256, 'audit.nodes'
    FROM audit.nodes AS n
    WHERE n.level = 1
    GROUP BY n.app_id;
    RETURN QUERY
    SELECT c.app_id, max(c.size), 'audit.checkpoints'
    FROM audit.checkpoints AS c
    GROUP BY c.app_id;
END
$$;
COMMENT ON FUNCTION audit.traces_of_nodes IS
    'audit.traces of a distributed database, where a query over all apps can''t be recursive: it reads all attempts.';

-- A query that names an app is sent to the app's node whole, the function along with it, which asks all of them. A setting of
-- the extension can't be named where there is none.
DO $$
BEGIN
    IF service.is_distributed() THEN
        ALTER FUNCTION audit.traces_of_nodes() SET citus.allow_nested_distributed_execution = on;
    END IF;
END
$$;
