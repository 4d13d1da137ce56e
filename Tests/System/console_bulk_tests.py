"""Bulk deletion in the desk, and the lists that it reads; Tests/System/console runs this."""

import json
import pathlib
import uuid

from console_case import H1, ConsoleCase, narrow_key, write
from setting import App, sql

ONE, TWO, THREE = (str(uuid.UUID(int=n, version=4)) for n in (1, 2, 3))


class ListTests(ConsoleCase):
    def read(self, page, text):
        result = page.evaluate(f"import('/console/csv.js').then((csv) => csv.idsIn({json.dumps(text)}))")
        return result["ids"], result["repeated"], [(each["line"], each["why"].split(":")[0]) for each in result["rejected"]]

    def test_lists_and_tables_are_read_as_people_have_them(self):
        page = self.open()
        for name, text, expected in (
            ("lines", f"{ONE}\n{TWO}\r\n\r\n{THREE}", ([ONE, TWO, THREE], 0, [])),
            ("one line", f" {ONE}, {TWO};{THREE} ", ([ONE, TWO, THREE], 0, [])),
            ("upper case, repeated", f"{ONE.upper()}\n{ONE}\n{TWO}\n{ONE}", ([ONE, TWO], 2, [])),
            ("byte order mark, heading", f"\ufeffid\n{ONE}\n{TWO}\n", ([ONE, TWO], 0, [])),
            ("columns", f"name,id,city\nAda,{ONE},London\nAlan,{TWO},Wilmslow\n", ([ONE, TWO], 0, [])),
            ("semicolons", f"Name;Customer_ID\n\"Lovelace; Ada\";{ONE}\n", ([ONE], 0, [])),
            ("tabs", f"customer id\tname\n{ONE}\tAda\n", ([ONE], 0, [])),
            ("quotes", f"name,id\n\"say \"\"hi\"\",\nthere\",\"{ONE}\"\nx,{TWO}\n", ([ONE, TWO], 0, [])),
            ("no heading", f"Ada,{ONE}\nAlan,{TWO}\n", ([ONE, TWO], 0, [])),
            ("the column of customers alone", f"order,customer_id\n{THREE},{ONE}\n{ONE},{TWO}\n", ([ONE, TWO], 0, [])),
            ("which of them is meant isn't guessed", f"Ada,{ONE},{TWO}\nAlan,{THREE}\n", ([THREE], 0, [(1, "several ids")])),
            ("no ids", f"id\nnone\n{ONE}\n1234\n", ([ONE], 0, [(2, "no id"), (4, "no id")])),
            ("lines count in quotes too", f"name,id\n\"a\nb\",{ONE}\nc,none\n", ([ONE], 0, [(4, "no id")])),
            ("an id is the whole cell", f"id\n{ONE}0\nx{TWO}\n", ([], 0, [(2, "no id"), (3, "no id")])),
            ("old line ends", f"id\r{ONE}\r{TWO}", ([ONE, TWO], 0, [])),
            ("spaces around quotes", f"name,id\n \"Ada\" , \"{ONE}\" \n", ([ONE], 0, [])),
            ("quotes within a cell", f"size,id\n5\" by 3\",{ONE}\n", ([ONE], 0, [])),
        ):
            with self.subTest(name):
                self.assertEqual(self.read(page, text), expected)

    def test_a_quotation_mark_that_nothing_closes_swallows_no_line(self):
        page = self.open()
        for name, text, line in (
            ("to the end", f"id,name\n{ONE},\"Ada\n{TWO},Alan", 2),
            ("to that of another line", f"id,name\n{ONE},Ada\n{TWO},\"Alan\n{THREE},\"Grace\"\n", 3),
            ("after rows of several lines", f"name,id\n\"a\nb\",{ONE}\n\"c,{TWO}\n", 4),
            ("old line ends", f"id,name\r{ONE},\"Ada\r{TWO},Alan", 2),
            ("in the heading", f"\"id\n{ONE}\n{TWO}\n", 1),
        ):
            with self.subTest(name):
                self.assertEqual(self.read(page, text), ([], 0, []))
                self.assertEqual(page.evaluate(f"import('/console/csv.js').then((csv) => csv.idsIn({json.dumps(text)}).openQuote)"), line)

    def test_the_column_of_customers_goes_before_other_ids(self):
        page = self.open()
        for heading, columns in (
            ("id,customer_id", [(2, "customer_id"), (1, "id")]),
            ("Customer ID;id;name", [(1, "Customer ID"), (2, "id")]),
            ("id,customer,id", [(1, "id"), (3, "id"), (2, "customer")]),
            ("id,name", [(1, "id")]),
        ):
            with self.subTest(heading):
                ids = [str(uuid.UUID(int=n, version=4)) for n in range(3)]
                separator = ";" if ";" in heading else ","
                text = f"{heading}\n{separator.join(ids[:len(heading.split(separator))])}\n"
                result = page.evaluate(f"import('/console/csv.js').then((csv) => csv.idsIn({json.dumps(text)}))")
                self.assertEqual(result["ids"], [ids[columns[0][0] - 1]])
                self.assertEqual([(each["number"], each["heading"]) for each in result["columns"]], columns)

    def test_a_large_list_is_read_at_once(self):
        page = self.open()
        ids = [str(uuid.uuid4()) for _ in range(20_000)]
        text = "name,id\n" + "".join(f'"Name, {n}",{each}\n' for n, each in enumerate(ids))
        self.assertEqual(self.read(page, text), (ids, 0, []))

    def test_no_cell_of_a_saved_table_is_a_formula(self):
        page = self.open()
        table = page.evaluate("import('/console/csv.js').then((csv) => csv.written([['a,b', '=1+1', '-2', null, 'say \"hi\"', 5]]))")
        self.assertEqual(table, '"a,b",\'=1+1,\'-2,,"say ""hi""",5\r\n')


class BulkTests(ConsoleCase):
    def dry_run(self, page, customers):
        page.wait_text("#found-ids", customers)
        self.ask(page, "#dry-run")
        page.click("#decide")
        page.wait_text("#bulk-status", "Done")

    def test_a_list_is_tried_then_deleted_and_the_results_are_saved(self):
        app = App()
        free = [app.customer("Ada", f"Lovelace {n}") for n in range(3)]
        billed = app.customer("Alan", "Turing", invoice=True)
        unknown = str(uuid.uuid4())
        page = self.sign_in(app.office, "/bulk")

        page.fill("#list", "\n".join(["id", *free, billed, unknown, free[0], "nonsense"]))
        page.wait_text("#found-ids", "1 repetition left out")
        page.wait_text("#found-ids", "1 line left out")
        self.dry_run(page, "5 customers in the list")
        self.assertEqual(page.text("#bulk-numbers"),
                         "3 would be deleted · 1 refused, since records refer to them · 1 not found · 0 failed")
        self.assertEqual(sql(f"SELECT count(*) FROM customers WHERE app_id = '{app.id}'"), "4")

        self.ask(page, "#bulk-delete")
        page.fill("#field-reason", "Retention")
        page.fill("#field-typed", "delete 4")
        page.click("#decide")
        page.wait_text("#field-typed-fault", "delete 3")
        page.fill("#field-typed", "delete 3")
        page.click("#decide")
        page.wait("!location.hash.includes('dry')")
        page.wait_text("#bulk-status", "Done: 3 customers.")
        page.wait_text("#bulk-results", "All of them were deleted.")
        self.assertEqual(sql(f"SELECT string_agg(id::text, ' ') FROM customers WHERE app_id = '{app.id}'"), billed)

        page.click("#bulk-download")
        lines = self.saved().read_text().splitlines()
        self.assertEqual(lines[0], "id,statusCode,message,entry")
        self.assertEqual([line.split(",")[:2] for line in lines[1:]], [[customer, "200"] for customer in free])
        reasons = sql(f"SELECT DISTINCT reason FROM audit.entries WHERE app_id = '{app.id}' AND action = 'customer.delete'")
        self.assertEqual(reasons, "Retention")

    def test_a_run_is_found_again(self):
        app = App()
        customers = [app.customer("Ada", "Lovelace"), app.customer("Alan", "Turing", invoice=True), str(uuid.uuid4())]
        page = self.sign_in(app.office, "/bulk")
        page.wait_text("#bulk-runs", "None.")
        page.fill("#list", "\n".join(customers))
        self.dry_run(page, "3 customers in the list")
        run = page.evaluate("location.hash.match(/[0-9a-f-]{36}/)[0]")
        write(app.office, "POST", "/api/v0/bulk-deletions", {"ids": customers[1:]})

        self.go(page, "/bulk")
        page.wait_text("#bulk-runs", "2, the newest first.")

        def cells(row):
            return page.evaluate(f"[...document.querySelectorAll('#bulk-runs tbody tr')[{row}].cells].slice(1).map((cell) => cell.innerText)")

        for _ in range(20):
            if cells(0)[1] != "RUNNING":
                break
            self.go(page, "/customers")
            page.wait("document.querySelector('#search') !== null")
            self.go(page, "/bulk")
            page.wait_text("#bulk-runs", "2, the newest first.")
        self.assertEqual(cells(0), ["deletion", "DONE", "2", "1 refused, since records refer to them · 1 not found", "back office"])
        self.assertEqual(cells(1), ["dry run", "DONE", "3", "1 would be deleted · 1 refused, since records refer to them · 1 not found",
                                    "back office"])
        page.click(f"#run-{run}")
        page.wait_text(H1, "Dry run")
        page.wait_text("#bulk-results", "1 customer would be deleted")

        # One whose address doesn't say what it is.
        self.go(page, f"/bulk/{run}")
        page.wait_text("#bulk-numbers", "1 would be deleted")
        page.wait_text(H1, "Dry run")

    def test_the_runs_are_listed_page_by_page(self):
        app = App()
        key = sql(f"SELECT id FROM service.api_keys WHERE client_key = '{app.office.client_key}'")
        sql("INSERT INTO service.bulk_deletions (app_id, bulk_id, status, dry_run, key_id, created_at, try_after, is_over, total) "
            f"SELECT '{app.id}', gen_random_uuid(), 'DONE', true, '{key}', now() - n * interval '1 s', now(), true, 0 FROM generate_series(1, 60) AS n")
        page = self.sign_in(app.office, "/bulk")

        page.wait_text("#bulk-runs", "50 and more, the newest first.")
        page.click("#more-bulk-runs")
        page.wait_text("#bulk-runs", "60, the newest first.")

        self.assertEqual(page.evaluate("document.querySelectorAll('#bulk-runs tbody tr').length"), 60)
        self.assertEqual(page.evaluate("document.querySelector('#more-bulk-runs')"), None)

    def test_a_file_is_chosen_or_dropped(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        page = self.sign_in(app.office, "/bulk")

        file = pathlib.Path(self.downloads) / "list.csv"
        file.write_bytes(f"name,id\nŁódź,{customer}\n".encode("utf-16"))
        page.choose_file("#list-file", str(file))
        page.wait_text("#found-ids", "1 customer in the list")
        file.unlink()

        page.evaluate(
            "(() => { const data = new DataTransfer(); data.items.add(new File([%s], 'list.csv'));"
            " document.querySelector('#drop').dispatchEvent(new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer: data})); })()"
            % json.dumps(f"{customer}\n{uuid.uuid4()}\n"))
        page.wait_text("#found-ids", "2 customers in the list")

    def paste(self, page, text):
        page.evaluate("(() => { const list = document.querySelector('#list'); list.value = %s; list.dispatchEvent(new Event('input')); })()"
                      % json.dumps(text))

    def test_a_list_with_an_open_quotation_mark_isnt_taken(self):
        page = self.sign_in(App().office, "/bulk")

        self.paste(page, f"id,name\n{ONE},\"x\n{TWO},y")

        page.wait_text("#found-ids", "The quotation mark in line 2 ")
        self.assertIn("Nothing of the list is taken.", page.text("#found-ids"))
        self.assertNotIn("in the list", page.text("#found-ids"))
        self.assertFalse(page.evaluate("document.querySelector('#dry-run') !== null"))
        self.assert_accessible(page)

        self.paste(page, f"id,name\n{ONE},\"x\"\n{TWO},y")
        page.wait_text("#found-ids", "2 customers in the list")

    def test_the_column_that_was_taken_is_told_where_another_could_be_meant(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        page = self.sign_in(app.office, "/bulk")

        self.paste(page, f"id,customer_id\n{ONE},{customer}\n")

        page.wait_text("#found-ids", "The ids are taken from column 2, customer_id, not from column 1, id.")
        self.assert_accessible(page)
        self.dry_run(page, "1 customer in the list")
        page.wait_text("#bulk-results", "1 customer would be deleted")

        self.go(page, "/bulk")
        page.wait("document.querySelector('#list') !== null")
        self.paste(page, f"id,name\n{customer},Ada\n")
        page.wait("document.querySelector('#column-taken') === null")

    def test_more_than_one_run_takes_is_told_before_it_is_sent(self):
        app = App()
        page = self.sign_in(app.office, "/bulk")

        self.paste(page, "\n".join(str(uuid.uuid4()) for _ in range(10_001)))

        page.wait_text("#found-ids", "10,001 customers in the list")
        page.wait_text("#found-ids", "at most 10,000")
        self.assertFalse(page.evaluate("document.querySelector('#dry-run') !== null"))

    def test_a_run_is_watched_and_stopped(self):
        app = App()
        customers = sql(f"INSERT INTO customers (app_id, first_name, last_name, phone_number) SELECT '{app.id}', 'Ada', n::text, '1' "
                        "FROM generate_series(1, 600) AS n RETURNING id").split()
        bulk = json.loads(app.office.request("POST", "/api/v0/bulk-deletions", {"ids": customers},
                                             **{"idempotency-key": str(uuid.uuid4())}).body)
        page = self.sign_in(app.office, f"/bulk/{bulk['id']}")

        page.wait_text("#bulk-status", "of 600 done")
        self.ask(page, "#bulk-stop")
        page.click("#decide")
        page.wait_text("#bulk-status", "Stopped after")

        page.wait_text("#bulk-results table", "NOT BEGUN")
        self.assertNotEqual(sql(f"SELECT count(*) FROM customers WHERE app_id = '{app.id}'"), "0")

    def test_a_lost_answer_begins_no_second_run(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        page = self.sign_in(app.office, "/bulk")
        page.expected.append("ERR_CONNECTION_RESET")
        page.fill("#list", customer)
        page.lose("POST", "/bulk-deletions")

        self.dry_run(page, "1 customer in the list")

        self.assertEqual(sql(f"SELECT count(*) FROM service.bulk_deletions WHERE app_id = '{app.id}'"), "1")

    def test_a_key_that_only_reads_watches_a_run_and_starts_none(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        bulk = json.loads(app.office.request("POST", "/api/v0/bulk-deletions", {"ids": [customer], "dry_run": True},
                                             **{"idempotency-key": str(uuid.uuid4())}).body)
        page = self.sign_in(narrow_key(app, "viewer", "front desk", ["customers:read"]), f"/bulk/{bulk['id']}?dry=1")

        page.wait_text("#bulk-status", "Done: 1 customer.")
        page.wait_text("#bulk-results", "All of them would be deleted.")
        self.assertFalse(page.evaluate("document.querySelector('#bulk-delete') !== null"))
        page.click(".back a")
        page.wait_text("#bulk-runs", "dry run")
        self.assertFalse(page.evaluate("document.querySelector('#list') !== null"))
