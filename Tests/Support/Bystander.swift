/// A client that behaves well, while others don't, and keeps the time of every answer.
public struct Bystander: Sendable, CustomStringConvertible {
    /// How long each answer took, the shortest first.
    public private(set) var latencies: [Duration] = []
    /// Answers other than the one that was to be expected, and requests without any.
    public private(set) var disappointments: [String] = []

    /// Asks again and again for the deletion of a customer that isn't there, each time over a new connection.
    public static func during<Value: Sendable>(
        _ tenant: Tenant, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> (value: Value, bystander: Bystander) {
        let asking = Task { await ask(tenant) }
        defer { asking.cancel() }
        let value = try await body()
        asking.cancel()
        return (value, await asking.value)
    }

    private static func ask(_ tenant: Tenant) async -> Bystander {
        var bystander = Bystander()
        repeat {
            var call = tenant.deletion(of: newID())
            call.isFresh = true
            let start = ContinuousClock.now
            // Not of this task, so that the last request isn't cut off.
            let result = await Task { try await tenant.send(call) }.result
            bystander.latencies.append(ContinuousClock.now - start)
            switch result {
            case .success(let answer) where answer.status == 404: break
            case .success(let answer): bystander.disappointments.append("\(answer)")
            case .failure(let error): bystander.disappointments.append("\(error)")
            }
            try? await Task.sleep(for: .milliseconds(20))
        } while !Task.isCancelled
        bystander.latencies.sort()
        return bystander
    }

    public var worst: Duration { latencies.last ?? .zero }
    public var median: Duration { latencies.isEmpty ? .zero : latencies[latencies.count / 2] }

    public var description: String {
        "\(latencies.count) others were answered, the median after \(median), the last after \(worst)"
    }
}
