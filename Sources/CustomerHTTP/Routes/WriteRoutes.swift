import Customers
import HTTPTypes
import Hummingbird
import LibPQ

/// The writes under `/api/v0/customers`.
struct WriteRoutes: Sendable {
    let commands: CustomerCommands
    let limits: Limits

    var routes: [Route] {
        [
            route(.post, "", create),
            route(.delete, "/{id}", delete),
            route(.patch, "/{id}", update),
            route(.patch, "/{id}/status", setStatus),
            route(.post, "/{id}/archive") { await archive($0, true) },
            route(.post, "/{id}/unarchive") { await archive($0, false) },
            route(.post, "/{id}/redact", redact),
            route(.post, "/{id}/restore", restore),
            route(.post, "/bulk-delete", deleteMany),
        ]
    }

    private func route(
        _ method: HTTPRequest.Method,
        _ path: String,
        _ reply: @escaping @Sendable (WriteRequest) async -> Reply
    ) -> Route {
        Route(method, "/api/v0/customers" + path) { request, context in
            let request = try await WriteRequest(request, context, limits)
            // A task of its own: a client that hangs up doesn't stop half-way what it asked for.
            let answer = await Task(executorPreference: Reactor.shared.taskExecutor) { await reply(request) }.value
            await failpoint("answering")
            return Response(answer)
        }
    }

    @Sendable private func create(_ request: WriteRequest) async -> Reply {
        let (fields, invalidity) = read { () throws(Invalidity) in try CustomerFields(request.body, .new) }
        let attempt = request.attempt(
            .createCustomer, [.writeCustomers], onCustomer: false, bodyInvalidity: invalidity)
        return await commands.create(attempt, request.edge.credentials, fields)
    }

    @Sendable private func delete(_ request: WriteRequest) async -> Reply {
        let attempt = request.attempt(
            .deleteCustomer, [.deleteCustomers], key: .required,
            fingerprint: Fingerprint.deletion(of: request.customerID))
        return await commands.delete(attempt, request.edge.credentials)
    }

    @Sendable private func update(_ request: WriteRequest) async -> Reply {
        await change(request, .updateCustomer, .change)
    }

    @Sendable private func setStatus(_ request: WriteRequest) async -> Reply {
        await change(request, .setStatus, .status)
    }

    private func change(_ request: WriteRequest, _ action: Action, _ form: CustomerFields.Form) async -> Reply {
        let (fields, invalidity) = read { () throws(Invalidity) in try CustomerFields(request.body, form) }
        let attempt = request.attempt(action, [.writeCustomers], bodyInvalidity: invalidity)
        return await commands.change(attempt, request.edge.credentials, fields, ifMatch: request.entityTags)
    }

    private func archive(_ request: WriteRequest, _ isArchived: Bool) async -> Reply {
        let attempt = request.attempt(isArchived ? .archiveCustomer : .unarchiveCustomer, [.deleteCustomers])
        return await commands.archive(attempt, request.edge.credentials, isArchived)
    }

    @Sendable private func redact(_ request: WriteRequest) async -> Reply {
        await commands.redact(request.attempt(.redactCustomer, [.deleteCustomers]), request.edge.credentials)
    }

    @Sendable private func restore(_ request: WriteRequest) async -> Reply {
        await commands.restore(
            request.attempt(.restoreCustomer, commands.restorePermissions), request.edge.credentials)
    }

    @Sendable private func deleteMany(_ request: WriteRequest) async -> Reply {
        let (bulk, invalidity) = read { () throws(Invalidity) in try BulkRequest(request.body) }
        let attempt = request.attempt(
            .deleteCustomers, [.deleteCustomers], onCustomer: false, key: .required, bodyInvalidity: invalidity,
            cost: bulk?.ids.count ?? 1)
        return await commands.delete(attempt, request.edge.credentials, bulk)
    }

    /// What a body says, or what is wrong with it; that is told later, to those who may ask at all.
    private func read<Value>(_ body: () throws(Invalidity) -> Value) -> (Value?, Invalidity?) {
        do {
            return (try body(), nil)
        } catch {
            return (nil, error)
        }
    }
}
