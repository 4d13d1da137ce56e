-- The business: customers and the four kinds of records that refer to them.
--
-- Every key is composite, (app_id, …): two apps can never meet in a join or a foreign key, and every table
-- distributes by app_id. The foreign keys on customers never cascade: a customer with records stays.

CREATE TABLE public.customers (
    app_id             uuid           NOT NULL,
    id                 uuid           NOT NULL DEFAULT gen_random_uuid(),
    first_name         text           NOT NULL,
    last_name          text           NOT NULL,
    email              text,
    phone_number       text           NOT NULL DEFAULT '',
    status             text           NOT NULL DEFAULT 'ACTIVE',
    customer_type      text           NOT NULL DEFAULT 'Individual',
    last_spent         numeric(18, 2),
    last_purchase_date timestamptz,
    created_at         timestamptz    NOT NULL DEFAULT now(),
    updated_at         timestamptz    NOT NULL DEFAULT now(),
    archived_at        timestamptz,
    redacted_at        timestamptz,
    CONSTRAINT customers_pkey PRIMARY KEY (app_id, id),
    CONSTRAINT customers_belong_to_a_real_app CHECK (app_id <> '00000000-0000-0000-0000-000000000000'),
    CONSTRAINT customers_first_name_has_1_to_100_characters CHECK (char_length(first_name) BETWEEN 1 AND 100),
    CONSTRAINT customers_last_name_has_at_most_100_characters CHECK (char_length(last_name) <= 100),
    CONSTRAINT customers_email_has_at_most_255_characters CHECK (char_length(email) <= 255),
    CONSTRAINT customers_phone_number_has_at_most_20_characters CHECK (char_length(phone_number) <= 20),
    CONSTRAINT customers_status_is_known CHECK (status IN ('ACTIVE', 'BLACKLISTED', 'DEACTIVATED')),
    CONSTRAINT customers_customer_type_is_known CHECK (customer_type IN (
        'Individual', 'Startup', 'Small Business', 'Medium Business', 'Enterprise', 'Non-Profit', 'Government')),
    CONSTRAINT customers_last_spent_is_a_number CHECK (last_spent <> 'NaN'),
    CONSTRAINT customers_last_purchase_date_fits_rfc_3339 CHECK (
        last_purchase_date >= '0001-01-01 00:00:00+00' AND last_purchase_date < '10000-01-01 00:00:00+00'),
    CONSTRAINT customers_created_at_fits_rfc_3339 CHECK (
        created_at >= '0001-01-01 00:00:00+00' AND created_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT customers_updated_at_fits_rfc_3339 CHECK (
        updated_at >= '0001-01-01 00:00:00+00' AND updated_at < '10000-01-01 00:00:00+00')
);
COMMENT ON TABLE public.customers IS 'One row a customer of an app. Deleted by the API only, and only while nothing refers to it.';
COMMENT ON COLUMN public.customers.app_id IS 'The tenant. First part of every key.';
COMMENT ON COLUMN public.customers.id IS 'The customer, unique within its app.';
COMMENT ON COLUMN public.customers.first_name IS 'Personal data. "[redacted]" after redaction.';
COMMENT ON COLUMN public.customers.last_name IS 'Personal data. Empty after redaction.';
COMMENT ON COLUMN public.customers.email IS 'Personal data. NULL when unknown or redacted.';
COMMENT ON COLUMN public.customers.phone_number IS 'Personal data. Empty when unknown or redacted.';
COMMENT ON COLUMN public.customers.status IS 'ACTIVE, BLACKLISTED or DEACTIVATED.';
COMMENT ON COLUMN public.customers.customer_type IS 'What kind of customer, from a closed list.';
COMMENT ON COLUMN public.customers.last_spent IS 'Amount of the last purchase, two decimals, in the currency of the app. NULL before the first purchase.';
COMMENT ON COLUMN public.customers.last_purchase_date IS 'When the last purchase was made. NULL before the first purchase.';
COMMENT ON COLUMN public.customers.created_at IS 'When the row was first inserted. Kept by a restore.';
COMMENT ON COLUMN public.customers.updated_at IS 'When the row was last changed through the API.';
COMMENT ON COLUMN public.customers.archived_at IS 'When the customer was archived; NULL while it is in use. Archived customers are hidden from lists.';
COMMENT ON COLUMN public.customers.redacted_at IS 'When the personal data was erased; NULL before.';

CREATE TABLE public.invoices (
    app_id         uuid           NOT NULL,
    id             uuid           NOT NULL DEFAULT gen_random_uuid(),
    customer_id    uuid           NOT NULL,
    invoice_number text,
    status         text           NOT NULL DEFAULT 'draft',
    amount         numeric(18, 2) NOT NULL DEFAULT 0,
    currency       text           NOT NULL DEFAULT 'USD',
    due_date       date,
    created_at     timestamptz    NOT NULL DEFAULT now(),
    updated_at     timestamptz    NOT NULL DEFAULT now(),
    CONSTRAINT invoices_pkey PRIMARY KEY (app_id, id),
    CONSTRAINT invoices_belong_to_a_customer FOREIGN KEY (app_id, customer_id)
        REFERENCES public.customers (app_id, id) ON UPDATE RESTRICT ON DELETE RESTRICT,
    CONSTRAINT invoices_status_is_known CHECK (status IN ('draft', 'pending', 'paid')),
    CONSTRAINT invoices_currency_is_iso_4217 CHECK (currency ~ '^[A-Z]{3}$')
);
CREATE INDEX invoices_by_customer ON public.invoices (app_id, customer_id);
COMMENT ON TABLE public.invoices IS 'Invoices of a customer. Any of them, draft, pending or paid, forbids deletion.';
COMMENT ON COLUMN public.invoices.app_id IS 'The tenant.';
COMMENT ON COLUMN public.invoices.id IS 'The invoice, unique within its app.';
COMMENT ON COLUMN public.invoices.customer_id IS 'Who is billed. NOT NULL: a NULL would slip through a MATCH SIMPLE foreign key.';
COMMENT ON COLUMN public.invoices.invoice_number IS 'The number printed on the invoice; NULL for a draft without one.';
COMMENT ON COLUMN public.invoices.status IS 'draft, pending or paid.';
COMMENT ON COLUMN public.invoices.amount IS 'Total, two decimals.';
COMMENT ON COLUMN public.invoices.currency IS 'ISO 4217 code of the amount.';
COMMENT ON COLUMN public.invoices.due_date IS 'Day by which it is to be paid.';
COMMENT ON COLUMN public.invoices.created_at IS 'When the row was inserted.';
COMMENT ON COLUMN public.invoices.updated_at IS 'When the row was last changed.';

CREATE TABLE public.payment_links (
    app_id      uuid           NOT NULL,
    id          uuid           NOT NULL DEFAULT gen_random_uuid(),
    customer_id uuid           NOT NULL,
    url         text           NOT NULL DEFAULT '',
    status      text           NOT NULL DEFAULT 'active',
    amount      numeric(18, 2) NOT NULL DEFAULT 0,
    currency    text           NOT NULL DEFAULT 'USD',
    expires_at  timestamptz,
    created_at  timestamptz    NOT NULL DEFAULT now(),
    updated_at  timestamptz    NOT NULL DEFAULT now(),
    CONSTRAINT payment_links_pkey PRIMARY KEY (app_id, id),
    CONSTRAINT payment_links_belong_to_a_customer FOREIGN KEY (app_id, customer_id)
        REFERENCES public.customers (app_id, id) ON UPDATE RESTRICT ON DELETE RESTRICT,
    CONSTRAINT payment_links_currency_is_iso_4217 CHECK (currency ~ '^[A-Z]{3}$')
);
CREATE INDEX payment_links_by_customer ON public.payment_links (app_id, customer_id);
COMMENT ON TABLE public.payment_links IS 'Payment links made for one customer. Any of them forbids deletion.';
COMMENT ON COLUMN public.payment_links.app_id IS 'The tenant.';
COMMENT ON COLUMN public.payment_links.id IS 'The payment link, unique within its app.';
COMMENT ON COLUMN public.payment_links.customer_id IS 'The customer that it was made for.';
COMMENT ON COLUMN public.payment_links.url IS 'Where the customer pays.';
COMMENT ON COLUMN public.payment_links.status IS 'State as the payment provider names it.';
COMMENT ON COLUMN public.payment_links.amount IS 'Amount asked for, two decimals.';
COMMENT ON COLUMN public.payment_links.currency IS 'ISO 4217 code of the amount.';
COMMENT ON COLUMN public.payment_links.expires_at IS 'When it stops working; NULL for never.';
COMMENT ON COLUMN public.payment_links.created_at IS 'When the row was inserted.';
COMMENT ON COLUMN public.payment_links.updated_at IS 'When the row was last changed.';

CREATE TABLE public.transactions (
    app_id      uuid           NOT NULL,
    id          uuid           NOT NULL DEFAULT gen_random_uuid(),
    customer_id uuid           NOT NULL,
    kind        text           NOT NULL DEFAULT 'payment',
    status      text           NOT NULL DEFAULT 'settled',
    amount      numeric(18, 2) NOT NULL DEFAULT 0,
    currency    text           NOT NULL DEFAULT 'USD',
    occurred_at timestamptz    NOT NULL DEFAULT now(),
    created_at  timestamptz    NOT NULL DEFAULT now(),
    CONSTRAINT transactions_pkey PRIMARY KEY (app_id, id),
    CONSTRAINT transactions_belong_to_a_customer FOREIGN KEY (app_id, customer_id)
        REFERENCES public.customers (app_id, id) ON UPDATE RESTRICT ON DELETE RESTRICT,
    CONSTRAINT transactions_currency_is_iso_4217 CHECK (currency ~ '^[A-Z]{3}$')
);
CREATE INDEX transactions_by_customer ON public.transactions (app_id, customer_id);
COMMENT ON TABLE public.transactions IS 'Money that moved for a customer. Any of them forbids deletion.';
COMMENT ON COLUMN public.transactions.app_id IS 'The tenant.';
COMMENT ON COLUMN public.transactions.id IS 'The transaction, unique within its app.';
COMMENT ON COLUMN public.transactions.customer_id IS 'Whose money it was.';
COMMENT ON COLUMN public.transactions.kind IS 'payment, refund, payout …';
COMMENT ON COLUMN public.transactions.status IS 'State as the ledger names it.';
COMMENT ON COLUMN public.transactions.amount IS 'Amount, two decimals; negative for money going out.';
COMMENT ON COLUMN public.transactions.currency IS 'ISO 4217 code of the amount.';
COMMENT ON COLUMN public.transactions.occurred_at IS 'When the money moved.';
COMMENT ON COLUMN public.transactions.created_at IS 'When the row was inserted.';

CREATE TABLE public.liquidation_addresses (
    app_id      uuid        NOT NULL,
    id          uuid        NOT NULL DEFAULT gen_random_uuid(),
    customer_id uuid        NOT NULL,
    chain       text        NOT NULL DEFAULT 'ethereum',
    currency    text        NOT NULL DEFAULT 'usdc',
    address     text        NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT liquidation_addresses_pkey PRIMARY KEY (app_id, id),
    CONSTRAINT liquidation_addresses_belong_to_a_customer FOREIGN KEY (app_id, customer_id)
        REFERENCES public.customers (app_id, id) ON UPDATE RESTRICT ON DELETE RESTRICT
);
CREATE INDEX liquidation_addresses_by_customer ON public.liquidation_addresses (app_id, customer_id);
COMMENT ON TABLE public.liquidation_addresses IS 'Addresses whose deposits are paid out to a customer. Any of them forbids deletion.';
COMMENT ON COLUMN public.liquidation_addresses.app_id IS 'The tenant.';
COMMENT ON COLUMN public.liquidation_addresses.id IS 'The address record, unique within its app.';
COMMENT ON COLUMN public.liquidation_addresses.customer_id IS 'Who is paid.';
COMMENT ON COLUMN public.liquidation_addresses.chain IS 'The ledger on which the address lies.';
COMMENT ON COLUMN public.liquidation_addresses.currency IS 'What is deposited.';
COMMENT ON COLUMN public.liquidation_addresses.address IS 'The address itself.';
COMMENT ON COLUMN public.liquidation_addresses.created_at IS 'When the row was inserted.';
COMMENT ON COLUMN public.liquidation_addresses.updated_at IS 'When the row was last changed.';

-- Finding customers by name and email.

-- Both extensions are trusted, so the owner of the schema may make them. A database that has them already may have
-- them in another schema: nothing here or in the service names that schema, only the two indexes do.
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
CREATE EXTENSION IF NOT EXISTS btree_gin SCHEMA public;

-- What is searched, without case: a name is found by any substring of "first last", which has both names as substrings,
-- whatever its case and however its accents are encoded. Upper case after lower case makes σ and ς, ß and SS equal.
-- Stored, since that takes ten times as long as comparing. Redaction changes it along with its source.
--
-- What upper() does depends on a collation; that of the database may be C, under which É stays as it is. The first that
-- the server has is taken: ICU's, the built-in ones of versions 18 and 17, the C library's. None but the first two
-- turns ß into SS, so replace() does. The expression can't change later, since what is stored depends on it; that is
-- why service.caseless stands here and not among the functions.
CREATE SCHEMA IF NOT EXISTS service;  -- The migrator makes it, for service.migrations.
DO $$
DECLARE
    v_collation text := (
        SELECT format('COLLATE %I.%I', n.nspname, c.collname)
        FROM unnest('{und-x-icu,pg_unicode_fast,pg_c_utf8,C.utf8,C.UTF-8,en_US.utf8,en_US}'::name[])
            WITH ORDINALITY AS w (name, position)
        JOIN pg_collation AS c ON c.collname = w.name AND c.collencoding IN (-1, pg_char_to_encoding('UTF8'))
        JOIN pg_namespace AS n ON n.oid = c.collnamespace AND n.nspname = 'pg_catalog'
        ORDER BY w.position
        LIMIT 1);
    v_caseless text := format(
        $caseless$pg_catalog.replace(pg_catalog.upper(pg_catalog.lower(pg_catalog.normalize(%%s, 'NFKC') %1$s) %1$s),
                                     'ß', 'SS') COLLATE pg_catalog."C"$caseless$,
        coalesce(v_collation, ''));
BEGIN
    EXECUTE format(
        'ALTER TABLE public.customers
             ADD COLUMN searchable_name text COLLATE "C" GENERATED ALWAYS AS (%s) STORED,
             ADD COLUMN searchable_email text COLLATE "C" GENERATED ALWAYS AS (%s) STORED',
        format(v_caseless, $e$(first_name || ' ' || last_name)$e$), format(v_caseless, 'email'));
    -- One expression, so that it becomes part of the query: a pattern loses its case once.
    EXECUTE format(
        'CREATE FUNCTION service.caseless(p_text text) RETURNS text
         LANGUAGE sql IMMUTABLE PARALLEL SAFE
         RETURN %s', format(v_caseless, 'p_text'));
END
$$;
COMMENT ON FUNCTION service.caseless(text) IS
    'A text as the searchable columns hold it: what differs only in case or in the encoding of accents becomes equal.';
COMMENT ON COLUMN public.customers.searchable_name IS 'Personal data: both names, without case, for the list''s filter.';
COMMENT ON COLUMN public.customers.searchable_email IS 'Personal data: the email, without case, for the list''s filter.';

-- What was inserted lately waits in a pending list, which makes inserting several times faster; every search reads it,
-- so it is kept short.
DO $$
DECLARE
    v_trigrams name := (SELECT n.nspname FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
                        WHERE e.extname = 'pg_trgm');
BEGIN
    EXECUTE format(
        'CREATE INDEX customers_by_name ON public.customers
         USING gin (app_id, searchable_name %I.gin_trgm_ops)
         WITH (gin_pending_list_limit = 512) WHERE archived_at IS NULL', v_trigrams);
    EXECUTE format(
        'CREATE INDEX customers_by_email ON public.customers
         USING gin (app_id, searchable_email %I.gin_trgm_ops)
         WITH (gin_pending_list_limit = 512) WHERE archived_at IS NULL AND searchable_email IS NOT NULL', v_trigrams);
END
$$;
CREATE INDEX customers_by_age ON public.customers (app_id, created_at DESC, id) WHERE archived_at IS NULL;
CREATE INDEX customers_by_status ON public.customers (app_id, status, created_at DESC, id) WHERE archived_at IS NULL;
-- By its last digits, so that a number is found whether it is written with its country or with a zero instead.
CREATE INDEX customers_by_phone ON public.customers
    (app_id, reverse(regexp_replace(phone_number, '[^0-9]', '', 'g')) text_pattern_ops) WHERE archived_at IS NULL;
CREATE INDEX customers_by_archive ON public.customers (app_id, created_at DESC, id) WHERE archived_at IS NOT NULL;
COMMENT ON INDEX public.customers_by_phone IS 'The last digits of a phone number, within an app.';
COMMENT ON INDEX public.customers_by_archive IS 'The list of archived customers, newest first.';
COMMENT ON INDEX public.customers_by_name IS 'Substrings of a name, in any case, within an app.';
COMMENT ON INDEX public.customers_by_email IS 'Substrings of an email address, in any case, within an app.';
COMMENT ON INDEX public.customers_by_age IS 'The list without filters, newest first, and its total.';
COMMENT ON INDEX public.customers_by_status IS 'The list by status, newest first, and its total.';
