-- Dependents: the records of a customer as the API shows them.
--
-- Called by GET …/invoices and the like, and by the export. Takes no locks. Inlined into the query, as rendering.sql
-- says.

-- What refers to a customer.
CREATE OR REPLACE FUNCTION service.invoice(i public.invoices) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.row_to_json(ROW(
        i.id,
        i.customer_id,
        i.invoice_number,
        i.status,
        i.amount,
        i.currency,
        i.due_date,
        pg_catalog.concat('app_', i.app_id),
        service.rfc3339(i.created_at),
        service.rfc3339(i.updated_at))::service.invoice_record)::pg_catalog.text
$$;
COMMENT ON FUNCTION service.invoice(public.invoices) IS 'An invoice as the API renders it.';

CREATE OR REPLACE FUNCTION service.payment_link(p public.payment_links) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.row_to_json(ROW(
        p.id,
        p.customer_id,
        p.url,
        p.status,
        p.amount,
        p.currency,
        service.rfc3339(p.expires_at),
        pg_catalog.concat('app_', p.app_id),
        service.rfc3339(p.created_at),
        service.rfc3339(p.updated_at))::service.payment_link_record)::pg_catalog.text
$$;
COMMENT ON FUNCTION service.payment_link(public.payment_links) IS 'A payment link as the API renders it.';

CREATE OR REPLACE FUNCTION service.transaction(t public.transactions) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.row_to_json(ROW(
        t.id,
        t.customer_id,
        t.kind,
        t.status,
        t.amount,
        t.currency,
        service.rfc3339(t.occurred_at),
        pg_catalog.concat('app_', t.app_id),
        service.rfc3339(t.created_at))::service.transaction_record)::pg_catalog.text
$$;
COMMENT ON FUNCTION service.transaction(public.transactions) IS 'A transaction as the API renders it.';

CREATE OR REPLACE FUNCTION service.liquidation_address(a public.liquidation_addresses) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.row_to_json(ROW(
        a.id,
        a.customer_id,
        a.chain,
        a.currency,
        a.address,
        pg_catalog.concat('app_', a.app_id),
        service.rfc3339(a.created_at),
        service.rfc3339(a.updated_at))::service.liquidation_address_record)::pg_catalog.text
$$;
COMMENT ON FUNCTION service.liquidation_address(public.liquidation_addresses) IS
    'A liquidation address as the API renders it.';

CREATE OR REPLACE VIEW service.dependents AS
SELECT 'invoices' AS kind, i.app_id, i.customer_id, i.id, i.created_at, service.invoice(i.*) AS record
FROM public.invoices AS i
UNION ALL
SELECT 'payment_links', p.app_id, p.customer_id, p.id, p.created_at, service.payment_link(p.*)
FROM public.payment_links AS p
UNION ALL
SELECT 'transactions', t.app_id, t.customer_id, t.id, t.created_at, service.transaction(t.*)
FROM public.transactions AS t
UNION ALL
SELECT 'liquidation_addresses', a.app_id, a.customer_id, a.id, a.created_at, service.liquidation_address(a.*)
FROM public.liquidation_addresses AS a;
COMMENT ON VIEW service.dependents IS
    'The records of a customer, of all kinds. kind is a constant of each branch, so a query by kind reads one table.';
