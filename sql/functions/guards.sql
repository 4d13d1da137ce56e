-- Triggers that keep the trail append-only and archived customers without new records.
--
-- Called by every UPDATE, DELETE and TRUNCATE of audit.entries, audit.nodes and audit.checkpoints, and by every new
-- record of a customer. The latter locks the customer's row FOR KEY SHARE, as its foreign key does.

CREATE OR REPLACE FUNCTION audit.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Two exceptions. The first: subject data and its salt may be erased where a later entry declares the customer
    -- redacted. The chain accepts a missing salt by the same rule, and it holds on a restored copy and on a logical
    -- replica too. The queries stand apart, so that their plans are kept: see service.finish.
    IF TG_OP = 'UPDATE'
       AND NEW.before_image IS NULL AND NEW.reason IS NULL AND NEW.error_message IS NULL AND NEW.subject_salt IS NULL
       AND (to_jsonb(NEW) - '{before_image,reason,error_message,subject_salt}'::text[])
         = (to_jsonb(OLD) - '{before_image,reason,error_message,subject_salt}'::text[]) THEN
        IF EXISTS (
            SELECT
            FROM audit.entries AS e
            WHERE e.app_id = NEW.app_id AND e.customer_id = NEW.customer_id AND e.seq > NEW.seq
              AND e.action = 'customer.redact' AND e.outcome = 'SUCCEEDED') THEN
            RETURN NEW;
        END IF;
    END IF;
    -- The second: the context and its salt, where a later entry declares that entries of this age have lost them.
    IF TG_OP = 'UPDATE'
       AND NEW.ip IS NULL AND NEW.user_agent IS NULL AND NEW.actor_claimed IS NULL AND NEW.context_salt IS NULL
       AND NEW.request IS NOT DISTINCT FROM OLD.request - 'headers'
       AND (to_jsonb(NEW) - '{ip,user_agent,actor_claimed,request,context_salt}'::text[])
         = (to_jsonb(OLD) - '{ip,user_agent,actor_claimed,request,context_salt}'::text[]) THEN
        IF EXISTS (
            SELECT
            FROM audit.entries AS e
            WHERE e.app_id = NEW.app_id AND e.seq > NEW.seq
              AND e.action = 'trail.retention' AND e.outcome = 'SUCCEEDED'
              AND (e.request ->> 'up_to')::bigint >= NEW.seq) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit.entries is append-only: % is not allowed', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
COMMENT ON FUNCTION audit.refuse_change() IS
    'Refuses UPDATE, DELETE and TRUNCATE of the trail, for its owner too; a redaction may erase subject data, and retention the context of old entries.';

CREATE OR REPLACE TRIGGER entries_are_never_changed BEFORE UPDATE OR DELETE ON audit.entries
    FOR EACH ROW EXECUTE FUNCTION audit.refuse_change();
CREATE OR REPLACE TRIGGER entries_are_never_truncated BEFORE TRUNCATE ON audit.entries
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.entries ENABLE ALWAYS TRIGGER entries_are_never_changed;
ALTER TABLE audit.entries ENABLE ALWAYS TRIGGER entries_are_never_truncated;

CREATE OR REPLACE FUNCTION audit.refuse_any_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'audit.% is append-only: % is not allowed', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$;
COMMENT ON FUNCTION audit.refuse_any_change() IS
    'Refuses UPDATE, DELETE and TRUNCATE of the tree and of the checkpoints, for their owner too.';

CREATE OR REPLACE TRIGGER nodes_are_never_changed BEFORE UPDATE OR DELETE ON audit.nodes
    FOR EACH ROW EXECUTE FUNCTION audit.refuse_any_change();
CREATE OR REPLACE TRIGGER nodes_are_never_truncated BEFORE TRUNCATE ON audit.nodes
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_any_change();
ALTER TABLE audit.nodes ENABLE ALWAYS TRIGGER nodes_are_never_changed;
ALTER TABLE audit.nodes ENABLE ALWAYS TRIGGER nodes_are_never_truncated;
CREATE OR REPLACE TRIGGER checkpoints_are_never_changed BEFORE UPDATE OR DELETE ON audit.checkpoints
    FOR EACH ROW EXECUTE FUNCTION audit.refuse_any_change();
CREATE OR REPLACE TRIGGER checkpoints_are_never_truncated BEFORE TRUNCATE ON audit.checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_any_change();
ALTER TABLE audit.checkpoints ENABLE ALWAYS TRIGGER checkpoints_are_never_changed;
ALTER TABLE audit.checkpoints ENABLE ALWAYS TRIGGER checkpoints_are_never_truncated;

CREATE OR REPLACE FUNCTION public.refuse_archived_customer() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v_archived_at timestamptz;
BEGIN
    -- An update that writes every column as it was adds no record.
    IF TG_OP = 'UPDATE' AND (NEW.app_id, NEW.customer_id) = (OLD.app_id, OLD.customer_id) THEN
        RETURN NEW;
    END IF;
    -- FOR KEY SHARE, as the foreign key takes it: archiving locks FOR UPDATE, so it can't come between this look and
    -- the commit. Anything stronger deadlocks two payments of one customer that also update the customer.
    SELECT c.archived_at INTO v_archived_at
    FROM public.customers AS c
    WHERE c.app_id = NEW.app_id AND c.id = NEW.customer_id
    FOR KEY SHARE;
    -- A record that was created before the archiving isn't new: a dump of the data is restored table by table, which
    -- brings the archived customer before its records. What is created at this moment is new in any case, even in a
    -- transaction that began before the archiving.
    IF v_archived_at IS NOT NULL
       AND (TG_OP = 'UPDATE' OR NEW.created_at >= v_archived_at OR NEW.created_at >= now()) THEN
        RAISE EXCEPTION 'the customer is archived and takes no new records'
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION public.refuse_archived_customer() IS 'Refuses new records for an archived customer.';

CREATE OR REPLACE TRIGGER invoices_need_a_customer_in_use
    BEFORE INSERT OR UPDATE OF app_id, customer_id ON public.invoices
    FOR EACH ROW EXECUTE FUNCTION public.refuse_archived_customer();
CREATE OR REPLACE TRIGGER payment_links_need_a_customer_in_use
    BEFORE INSERT OR UPDATE OF app_id, customer_id ON public.payment_links
    FOR EACH ROW EXECUTE FUNCTION public.refuse_archived_customer();
CREATE OR REPLACE TRIGGER transactions_need_a_customer_in_use
    BEFORE INSERT OR UPDATE OF app_id, customer_id ON public.transactions
    FOR EACH ROW EXECUTE FUNCTION public.refuse_archived_customer();
CREATE OR REPLACE TRIGGER liquidation_addresses_need_a_customer_in_use
    BEFORE INSERT OR UPDATE OF app_id, customer_id ON public.liquidation_addresses
    FOR EACH ROW EXECUTE FUNCTION public.refuse_archived_customer();
