import Foundation
import LibPQ
import TestSupport
import Testing

/// A write of docs/api.md, Operations, with all that a test needs to request it.
struct Operation: Sendable, CustomTestStringConvertible {
    /// What the customer has to be for the operation to succeed.
    enum Precondition: Sendable {
        case none
        case living
        case held
        case scheduled
        case deleted
    }

    /// As the trail names it.
    let action: String
    let permission: String
    let precondition: Precondition
    /// What a success answers.
    let status: Int
    let method: String
    /// Behind `/api/v0/customers`.
    let path: @Sendable (_ customer: String) -> String
    var body: @Sendable (_ customer: String) -> String? = { _ in nil }

    var testDescription: String { action }

    static let all = [
        Operation(
            action: "customer.create", permission: "customers:write", precondition: .none, status: 201, method: "POST",
            path: { _ in "" }, body: { _ in CreationTests.body([:]) }),
        Operation(
            action: "customer.update", permission: "customers:write", precondition: .living, status: 200,
            method: "PATCH", path: { "/\($0)" }, body: { _ in #"{"last_name":"New"}"# }),
        Operation(
            action: "customer.status", permission: "customers:write", precondition: .living, status: 200,
            method: "PATCH", path: { "/\($0)/status" }, body: { _ in #"{"status":"DEACTIVATED"}"# }),
        Operation(
            action: "customer.archive", permission: "customers:delete", precondition: .living, status: 200,
            method: "POST", path: { "/\($0)/archive" }),
        Operation(
            action: "customer.unarchive", permission: "customers:delete", precondition: .living, status: 200,
            method: "POST", path: { "/\($0)/unarchive" }),
        Operation(
            action: "customer.redact", permission: "customers:delete", precondition: .living, status: 200,
            method: "POST", path: { "/\($0)/redact" }),
        Operation(
            action: "customer.restore", permission: "customers:restore", precondition: .deleted, status: 200,
            method: "POST", path: { "/\($0)/restore" }),
        Operation(
            action: "customer.delete", permission: "customers:delete", precondition: .living, status: 200,
            method: "DELETE", path: { "/\($0)" }),
        Operation(
            action: "customer.bulk-delete", permission: "customers:delete", precondition: .living, status: 200,
            method: "POST", path: { _ in "/bulk-delete" }, body: { "{\"ids\":[\"\($0)\"]}" }),
        Operation(
            action: "hold.place", permission: "customers:delete", precondition: .living, status: 200, method: "PUT",
            path: { "/\($0)/hold" }, body: { _ in #"{"reason":"Lawsuit"}"# }),
        Operation(
            action: "hold.release", permission: "customers:delete", precondition: .held, status: 200,
            method: "DELETE", path: { "/\($0)/hold" }),
        Operation(
            action: "deletion.schedule", permission: "customers:delete", precondition: .living, status: 202,
            method: "PUT", path: { "/\($0)/scheduled-deletion" },
            body: { _ in "{\"at\":\"\(Date(timeIntervalSinceNow: 86_400).ISO8601Format())\"}" }),
        Operation(
            action: "deletion.cancel", permission: "customers:delete", precondition: .scheduled, status: 200,
            method: "DELETE", path: { "/\($0)/scheduled-deletion" }),
    ]

    /// Those whose path names a customer.
    static let onCustomer = all.filter { !["customer.create", "customer.bulk-delete"].contains($0.action) }

    /// Asks for it.
    ///
    /// - Parameter ifMatch: the header `If-Match`, none when nil.
    func ask(
        _ tenant: Tenant, about customer: String, key: String = newID(), ifMatch: String? = nil
    ) async throws -> HTTPAnswer {
        try await tenant.ask(
            method, path(customer), body(customer), key: key,
            headers: ifMatch.map { [(name: "if-match", value: $0)] } ?? [])
    }

    /// Makes a customer for which it succeeds.
    func subject(of tenant: Tenant) async throws -> CustomerFixture {
        let customer = CustomerFixture()
        guard precondition != .none else { return customer }
        try await tenant.insert(customer)
        switch precondition {
        case .none, .living: break
        case .deleted: _ = try await tenant.delete(customer.id)
        case .held:
            try await tenant.database.rows(
                """
                INSERT INTO legal_holds (app_id, customer_id, reason, placed_at, placed_by)
                VALUES ($1, $2, 'Lawsuit', now(), 'tests')
                """, [.text(tenant.app), .text(customer.id)])
        case .scheduled:
            try await tenant.database.rows(
                """
                INSERT INTO service.scheduled_deletions
                    (app_id, customer_id, delete_at, key_id, scheduled_by, try_after)
                SELECT k.app_id, $2, now() + interval '1 day', k.id, gen_random_uuid(), now() + interval '1 day'
                FROM service.api_keys AS k
                WHERE k.client_key = $1
                """, [.text(tenant.key.clientKey), .text(customer.id)])
        }
        return customer
    }
}

/// What each role may do. Source: docs/api.md, Roles.
enum KeyRole: String, CaseIterable, Sendable {
    case viewer, editor, admin, auditor

    var permissions: Set<String> {
        switch self {
        case .viewer: ["customers:read"]
        case .editor: ["customers:read", "customers:write"]
        case .admin: ["customers:read", "customers:write", "customers:delete", "customers:restore", "audit:read"]
        case .auditor: ["audit:read"]
        }
    }
}
