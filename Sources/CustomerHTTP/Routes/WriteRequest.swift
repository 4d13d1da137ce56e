import Customers
import HTTPTypes
import Hummingbird

/// A request on a write route, read as far as it can be before anybody is asked whether it may go on.
struct WriteRequest: Sendable {
    let edge: RequestEdge
    let body: [UInt8]
    let customerID: UUID?
    private let method: String
    private let path: String
    private let deadline: ContinuousClock.Instant

    /// Whether the client has to name the request by an idempotency key.
    enum KeyRule {
        case required
        case optional
    }

    /// - Throws: when the body is too large or doesn't arrive.
    init(_ request: Request, _ context: APIContext, _ limits: Limits) async throws(APIError) {
        guard let edge = context.edge else { throw .unforeseen }
        self.edge = edge
        self.deadline = context.arrival + limits.requestTimeout
        // Where a body is ignored it has to be read all the same, before the connection can go on.
        self.body = Array(buffer: try await request.wholeBody(deadline: deadline))
        self.customerID = context.customerID
        self.method = request.method.rawValue
        self.path = request.uri.path.lowercased()
    }

    /// The tags of `If-Match`, nil without one (RFC 9110, section 13.1.1).
    var entityTags: [String]? {
        edge.ifMatch?.split(separator: ",").map { $0.trimmed }
    }

    /// - Parameters:
    ///   - customerRule: what is wrong when the path names no customer; nil for routes without one.
    ///   - bodyInvalidity: what is wrong with the body.
    ///   - fingerprint: where the body doesn't count; nil for method, path, precondition and body.
    func attempt(
        _ action: Action,
        _ permissions: [Permission],
        onCustomer: Bool = true,
        key: KeyRule = .optional,
        bodyInvalidity: Invalidity? = nil,
        fingerprint: [UInt8]? = nil,
        cost: Int = 1
    ) -> Attempt {
        var invalidity = onCustomer && customerID == nil ? Invalidity.customerIDIsNoUUID : nil
        var idempotencyKey: UUID?
        switch edge.idempotencyKey {
        case .success(let key): idempotencyKey = key
        case .failure(let error) where error.invalidity == .idempotencyKeyIsMissing && key == .optional: break
        case .failure(let error): invalidity = invalidity ?? error.invalidity
        }
        return Attempt(
            action: action,
            customerID: customerID,
            idempotencyKey: idempotencyKey,
            invalidity: invalidity ?? edge.invalidity ?? bodyInvalidity,
            fingerprint: fingerprint
                ?? Fingerprint.of("\(method) \(path)", [Array((edge.ifMatch ?? "").utf8), body]),
            context: edge.context,
            cost: cost,
            permissions: permissions,
            deadline: deadline
        )
    }
}
