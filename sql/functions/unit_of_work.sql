-- The unit of work, step 2 of the protocol: one transaction that holds the change, its before-image and its receipt.
--
--     BEGIN · enter(attempt, fence) · the statements of the operation · finish(…) · COMMIT
--
-- Called by every operation that changes something, in one pipelined trip; settle by the resolver of a COMMIT in doubt.
-- Locks, in this order: the attempt, then the customer. Commits synchronously.

CREATE OR REPLACE FUNCTION service.receipt(p_attempt service.attempts) RETURNS service.receipt
LANGUAGE sql STABLE PARALLEL SAFE
RETURN ROW(
    (p_attempt).customer_id, (p_attempt).outcome, (p_attempt).status_code, (p_attempt).body)::service.receipt;
COMMENT ON FUNCTION service.receipt(service.attempts) IS 'The receipt of a finished attempt.';

CREATE OR REPLACE FUNCTION service.enter(p_app_id uuid, p_attempt_id uuid, p_fence int, p_budget_ms int) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_trace text;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true),
            set_config('statement_timeout', p_budget_ms::text, true),
            set_config('lock_timeout', (p_budget_ms / 2)::text, true);
    SELECT a.entry -> 'request' -> 'headers' ->> 'traceparent' INTO v_trace
    FROM service.attempts AS a
    WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id AND a.fence = p_fence AND a.outcome IS NULL
    FOR UPDATE;
    IF NOT FOUND THEN
        -- It must raise: in a pipeline a statement that found no row would not stop the COMMIT behind it.
        RAISE EXCEPTION 'the attempt is no longer held under this fence' USING ERRCODE = 'CD001';
    END IF;
    -- pg_stat_activity and the server's log then name the trace that the transaction is part of (W3C Trace Context).
    IF v_trace ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' THEN
        PERFORM set_config('application_name', 'customerd/' || substr(v_trace, 4, 49), true);
    END IF;
END
$$;
COMMENT ON FUNCTION service.enter IS
    'Opens a unit of work: locks its attempt, and raises CD001 unless it is running under this fence, so that a stalled request whose lease was taken over can never commit.';

CREATE OR REPLACE FUNCTION service.status_code(p_ending service.ending) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE p_ending
    WHEN 'SUCCEEDED' THEN 200 WHEN 'CREATED' THEN 201 WHEN 'ACCEPTED' THEN 202 WHEN 'EMPTY' THEN 204
    WHEN 'REFUSED' THEN 400 WHEN 'INVALID' THEN 400 WHEN 'UNAUTHENTICATED' THEN 401 WHEN 'FORBIDDEN' THEN 403
    WHEN 'NOT_FOUND' THEN 404 WHEN 'CONFLICT' THEN 409 WHEN 'MISMATCH' THEN 412 WHEN 'RATE_LIMITED' THEN 429
    WHEN 'FAILED' THEN 500 END;
COMMENT ON FUNCTION service.status_code(service.ending) IS
    'The HTTP status of what the database stores: the only place in SQL that knows any.';

-- STABLE, as reading an ENUM is: a function that claims more than its body isn't inlined.
CREATE OR REPLACE FUNCTION service.outcome_of(p_ending service.ending) RETURNS service.outcome
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN p_ending IN ('CREATED', 'ACCEPTED', 'EMPTY') THEN 'SUCCEEDED'
            WHEN p_ending = 'MISMATCH' THEN 'CONFLICT'
            ELSE p_ending::text END::service.outcome;
COMMENT ON FUNCTION service.outcome_of(service.ending) IS 'What the trail calls an ending.';

CREATE OR REPLACE FUNCTION service.finish(
    p_app_id       uuid,
    p_attempt_id   uuid,
    p_ending       service.ending,
    p_body         text,
    p_before_image text DEFAULT NULL,
    p_request      jsonb DEFAULT NULL,
    p_customer_id  uuid DEFAULT NULL) RETURNS service.receipt
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v_outcome CONSTANT service.outcome := service.outcome_of(p_ending);
    v_attempt service.attempts;
BEGIN
    UPDATE service.attempts AS a
    SET outcome = v_outcome, status_code = service.status_code(p_ending), body = p_body,
        before_image = p_before_image, finished_at = clock_timestamp(),
        is_current = v_outcome IN ('SUCCEEDED', 'REFUSED', 'NOT_FOUND'),
        customer_id = coalesce(p_customer_id, a.customer_id),
        entry = CASE WHEN p_request IS NULL THEN a.entry
                     ELSE jsonb_set(a.entry, '{request}', coalesce(a.entry -> 'request', '{}') || p_request) END
    WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id AND a.outcome IS NULL
    RETURNING * INTO v_attempt;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the attempt is already finished' USING ERRCODE = 'CD002';
    END IF;
    -- Two conditions: in one, which is mostly false without the query, the plan would be made anew at each call.
    IF v_outcome = 'NOT_FOUND' AND v_attempt.action = 'customer.delete' THEN
        IF EXISTS (SELECT FROM public.customers AS c WHERE c.app_id = p_app_id AND c.id = v_attempt.customer_id) THEN
            RAISE EXCEPTION 'a trigger or row-security policy prevented the deletion' USING ERRCODE = 'CD003';
        END IF;
    END IF;
    RETURN service.receipt(v_attempt);
END
$$;
COMMENT ON FUNCTION service.finish IS
    'Writes the receipt: the finished answer, in the same transaction as the change that it answers for. p_request adds to the entry''s request what only the change knows. Only SUCCEEDED, REFUSED and NOT_FOUND keep the idempotency key.';

CREATE OR REPLACE FUNCTION service.settle(p_app_id uuid, p_attempt_id uuid, p_fence int, p_budget_ms int)
RETURNS service.settled
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_attempt service.attempts;
    v_settled service.settled;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true),
            set_config('lock_timeout', p_budget_ms::text, true);
    -- Under the lock, never by a plain read: a backend may be inside COMMIT, unseen, and commit afterwards.
    SELECT * INTO v_attempt
    FROM service.attempts AS a
    WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id
    FOR UPDATE;
    IF v_attempt.outcome IS NOT NULL THEN
        v_settled.settling := 'FINISHED';
        v_settled.receipt := service.receipt(v_attempt);
    ELSIF v_attempt.fence = p_fence THEN
        UPDATE service.attempts AS a
        SET fence = a.fence + 1
        WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id
        RETURNING a.fence INTO v_settled.fence;
        v_settled.settling := 'OPEN';
    ELSE
        v_settled.settling := 'LOST';
    END IF;
    RETURN v_settled;
END
$$;
COMMENT ON FUNCTION service.settle IS
    'Finds out what became of a COMMIT in doubt, under the attempt''s lock, and closes the door behind a COMMIT that did not happen.';
