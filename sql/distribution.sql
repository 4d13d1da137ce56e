-- Distribution: where the extension citus is installed, every table is distributed by app_id, so that all of an app lies
-- on one node. Applied at every migration, after the tables and before the functions; elsewhere it does nothing.
--
-- API keys are looked up before the app is known, and an instance asks any node for the version of the schema, so each node
-- has a copy of them (a reference table). What runs on such a database otherwise than on a single node is in
-- functions/nodes.sql; docs/scale.md explains both.
DO $$
DECLARE
    v_tables regclass[];
    v_table  regclass;
    v_object record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'citus') THEN
        RETURN;
    END IF;
    -- The triggers of guards.sql read rows of the app whose row they guard, which are on the same node.
    PERFORM set_config('citus.enable_unsafe_triggers', 'on', true);

    v_tables := ARRAY(
        SELECT t.oid
        FROM pg_class AS t
        JOIN pg_namespace AS n ON n.oid = t.relnamespace
        WHERE (n.nspname IN ('audit', 'service')
               OR t.oid IN ('public.customers'::regclass, 'public.invoices'::regclass, 'public.payment_links'::regclass,
                            'public.transactions'::regclass, 'public.liquidation_addresses'::regclass,
                            'public.legal_holds'::regclass))
          AND t.relkind = 'r'
          AND NOT EXISTS (SELECT FROM pg_dist_partition AS p WHERE p.logicalrelid = t.oid)
        -- What others refer to comes before them.
        ORDER BY t.oid = 'public.customers'::regclass DESC,
                 EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = t.oid AND k.contype = 'f'),
                 n.nspname, t.relname);
    IF v_tables = '{}' THEN
        RETURN;
    END IF;

    -- A function that takes a table's row, and a view of such functions, would have to be on the other nodes before the
    -- table is, which it takes. They are all made again afterwards.
    FOR v_object IN
        SELECT 'VIEW' AS kind, t.oid::regclass::text AS name
        FROM pg_class AS t
        JOIN pg_namespace AS n ON n.oid = t.relnamespace
        WHERE n.nspname IN ('audit', 'service') AND t.relkind = 'v'
        UNION ALL
        SELECT 'FUNCTION', f.oid::regprocedure::text
        FROM pg_proc AS f
        JOIN pg_namespace AS n ON n.oid = f.pronamespace
        WHERE n.nspname IN ('audit', 'service') AND f.oid <> 'service.fold'::regproc
        ORDER BY kind DESC
    LOOP
        EXECUTE format('DROP %s IF EXISTS %s CASCADE', v_object.kind, v_object.name);
    END LOOP;
    DROP FUNCTION IF EXISTS public.refuse_archived_customer() CASCADE;
    DELETE FROM service.applied_functions;

    -- A unique key of a distributed table holds the column by which it is distributed. An id belongs to one attempt of one
    -- app, and service.append looks for it in the chain of the app.
    IF 'audit.entries'::regclass = ANY (v_tables) THEN
        ALTER TABLE audit.entries
            DROP CONSTRAINT entries_are_appended_once,
            ADD CONSTRAINT entries_are_appended_once UNIQUE (app_id, id);
    END IF;
    FOREACH v_table IN ARRAY v_tables LOOP
        IF v_table IN ('service.api_keys'::regclass, 'service.migrations'::regclass,
                       'service.applied_functions'::regclass) THEN
            PERFORM create_reference_table(v_table::text);
        ELSIF v_table = 'public.customers'::regclass THEN
            PERFORM create_distributed_table(v_table::text, 'app_id', colocate_with => 'none');
        ELSE
            PERFORM create_distributed_table(v_table::text, 'app_id', colocate_with => 'public.customers');
        END IF;
    END LOOP;
END
$$;
