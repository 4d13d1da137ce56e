import ChaosJudge
import LibPQ
import TestSupport

/// One client that does step after step, as its generator tells it.
struct ChaosClient: Sendable {
    let number: Int
    let seed: UInt64
    let arena: Arena
    let recorder: Recorder

    /// The steps of a client. Source: a seed of its own from that of the run.
    static func generator(seed: UInt64, client: Int) -> SeededGenerator {
        var seeds = SeededGenerator(seed: seed)
        var own: UInt64 = 0
        for _ in 0...client { own = seeds.next() }
        return SeededGenerator(seed: own)
    }

    /// Runs until the course is over; what it insists on may take somewhat longer.
    func run(along course: any Course) async {
        var generator = Self.generator(seed: seed, client: number)
        var count = 0
        while !course.isOver {
            let step = Step(using: &generator, tenants: arena.apps.count)
            count += 1
            await perform(step, name: "\(number)-\(count)")
            try? await Task.sleep(for: .milliseconds(step.pause))
        }
    }

    private func perform(_ step: Step, name: String) async {
        switch step.kind {
        case .addInvoice: await addInvoice(step)
        case .removeInvoice: await removeInvoice(step)
        case .askAgain:
            guard let asked = arena.roster.asked(of: step.tenant, step.choice) else { return }
            await pursue(asked.request, step, key: asked.key, reason: asked.reason, name)
        default:
            guard let request = request(step) else { return }
            let key = isKeyed(step, request) ? step.key : nil
            // A bulk request is about several people, so what it gives as its reason outlives a redaction.
            let reason = step.kind == .bulkDelete ? nil : step.reason.map { PersonalData(mark: $0) }
            if let key { arena.roster.note(.init(request: request, key: key, reason: reason), of: step.tenant) }
            guard step.isTwin, key != nil else { return await pursue(request, step, key: key, reason: reason, name) }
            var other = step
            other.instance = 1 - step.instance
            async let twin: Void = pursue(request, other, key: key, reason: reason, name + "-twin")
            await pursue(request, step, key: key, reason: reason, name)
            await twin
        }
    }

    private func isKeyed(_ step: Step, _ request: Request) -> Bool {
        switch request {
        case .delete, .bulkDelete: true
        case .read, .check, .list, .trail: false
        default: step.isKeyed
        }
    }

    private func request(_ step: Step) -> Request? {
        let customer = arena.roster.customer(of: step.tenant, at: step.place)
        return switch step.kind {
        case .create: .create(PersonalData(mark: step.mark))
        case .delete: .delete(customer)
        case .update: .update(customer, changes(step, customer))
        case .setStatus: .setStatus(customer, step.status)
        case .archive: .archive(customer)
        case .unarchive: .unarchive(customer)
        case .redact: .redact(customer)
        case .restore: .restore(customer)
        case .bulkDelete: .bulkDelete(many(step, customer), isDryRun: step.isDryRun)
        case .read: .read(customer)
        case .check: .check(customer)
        case .list: .list
        case .trail: .trail(customer)
        case .addInvoice, .removeInvoice, .askAgain: nil
        }
    }

    private func changes(_ step: Step, _ customer: String) -> Request.Changes {
        let ifMatch = step.sendsIfMatch ? arena.roster.record(of: customer) : nil
        return step.isDryRun
            ? .init(customerType: "Startup", ifMatch: ifMatch)
            : .init(person: PersonalData(mark: step.mark), ifMatch: ifMatch)
    }

    /// Customers of a bulk request, each once.
    private func many(_ step: Step, _ customer: String) -> [String] {
        var customers = [customer]
        for place in step.otherPlaces {
            let other = arena.roster.customer(of: step.tenant, at: place)
            if !customers.contains(other) { customers.append(other) }
        }
        return customers
    }

    // MARK: - Asking

    /// Asks once, or until there is a true outcome, as the step says; without a key that would be a further request.
    private func pursue(_ request: Request, _ step: Step, key: String?, reason: PersonalData?, _ name: String) async {
        let pursuit = step.insists && key != nil ? recorder.number() : nil
        let limit = ContinuousClock.now + .seconds(90)
        var round = 1
        while true {
            let instance = (step.instance + round - 1) % arena.instances.count
            let call = await ask(
                request, of: step.tenant, via: instance, key: key, reason: reason, requestID: "\(name)-\(round)",
                pursuit: pursuit)
            learn(from: call, step)
            guard pursuit != nil, !call.isSettled, ContinuousClock.now < limit else { return }
            round += 1
            try? await Task.sleep(for: .milliseconds(100 + 50 * min(round, 8)))
        }
    }

    private func ask(
        _ request: Request, of tenant: Int, via instance: Int, key: String?, reason: PersonalData?, requestID: String,
        pursuit: Int?
    ) async -> Call {
        let app = arena.apps[tenant]
        var headers = app.keys[instance].headers + [(name: "x-request-id", value: requestID)]
        if let key { headers.append(("idempotency-key", key)) }
        if let reason { headers.append(("x-audit-reason", "\(reason.firstName) asked for it")) }
        if case .update(_, let changes) = request, let record = changes.ifMatch {
            headers.append(("if-match", record.entityTag))
        }
        // A connection of its own, so that no client library sends anything twice.
        let http = HTTPCall(
            request.method, request.path, headers: headers, body: request.body, fresh: true)
        let number = recorder.number()
        let invoked = recorder.now
        let answer = try? await http.send(
            to: arena.instances[instance].port, within: .seconds(10), retriesConnecting: false)
        let call = Call(
            id: number, client: self.number, app: app.id, instance: instance, request: request, requestID: requestID,
            idempotencyKey: key, reason: reason, invoked: invoked, returned: recorder.now,
            answer: answer.map { CallAnswer($0) }, pursuit: pursuit)
        recorder.note(call)
        return call
    }

    private func learn(from call: Call, _ step: Step) {
        guard let answer = call.answer, [200, 201].contains(answer.status) else { return }
        guard let record = CustomerRecord(text: answer.body) else { return }
        arena.roster.note(record)
        guard case .create = call.request, step.kind == .create else { return }
        arena.roster.settle(record.id, of: step.tenant, at: step.place)
    }

    // MARK: - Past the service

    /// A server that says nothing keeps a client from asking others no longer than the service does.
    private static let patience = Duration.seconds(3)

    private func addInvoice(_ step: Step) async {
        let app = arena.apps[step.tenant].id
        let customer = arena.roster.customer(of: step.tenant, at: step.place)
        let outcome = await change(.add, invoice: step.key, of: Subject(app: app, id: customer)) {
            _ = try await arena.database.rows(
                "INSERT INTO invoices (app_id, id, customer_id) VALUES ($1, $2, $3)",
                [.text(app), .text(step.key), .text(customer)], within: Self.patience)
        }
        if outcome == .done { arena.roster.note(invoice: step.key, of: customer, tenant: step.tenant) }
    }

    private func removeInvoice(_ step: Step) async {
        let app = arena.apps[step.tenant].id
        let customer = arena.roster.customer(of: step.tenant, at: step.place)
        guard let known = arena.roster.takeInvoice(of: customer, tenant: step.tenant, step.choice) else { return }
        _ = await change(.remove, invoice: known.invoice, of: Subject(app: app, id: known.customer)) {
            _ = try await arena.database.rows(
                "DELETE FROM invoices WHERE app_id = $1 AND id = $2", [.text(app), .text(known.invoice)],
                within: Self.patience)
        }
    }

    private func change(
        _ kind: InvoiceChange.Kind, invoice: String, of subject: Subject, _ body: () async throws -> Void
    ) async -> InvoiceChange.Outcome {
        let invoked = recorder.now
        let outcome: InvoiceChange.Outcome
        do {
            try await body()
            outcome = .done
        } catch {
            outcome =
                switch (error as? DatabaseError)?.sqlstate?.rawValue {
                case "23503": .refusedAsMissing
                case "23514": .refusedAsArchived
                default: .unknown
                }
        }
        recorder.note(
            InvoiceChange(
                subject: subject, invoice: invoice, kind: kind, invoked: invoked, returned: recorder.now,
                outcome: outcome))
        return outcome
    }
}

extension CallAnswer {
    fileprivate init(_ answer: HTTPAnswer) {
        self.init(
            status: answer.status, body: answer.body, isReplayed: answer["idempotent-replayed"] == "true",
            retryAfter: answer["retry-after"].flatMap { Int($0) })
    }
}
