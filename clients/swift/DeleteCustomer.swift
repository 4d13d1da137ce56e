import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Deletes a customer, trying again where that helps. See clients/README.md.
@main
struct DeleteCustomer {
    static let usage = """
        usage: CUSTOMERD_CLIENT_KEY=… CUSTOMERD_CLIENT_SECRET=… delete-customer CUSTOMER_ID [SECONDS [IDEMPOTENCY_KEY]]
        """

    static func main() async {
        exit(await run(Array(CommandLine.arguments.dropFirst()), ProcessInfo.processInfo.environment))
    }

    private static func run(_ arguments: [String], _ environment: [String: String]) async -> Int32 {
        guard
            (1...3).contains(arguments.count),
            let seconds = Double(arguments.dropFirst().first ?? "60"),
            let url = URL(string: environment["CUSTOMERD_URL"] ?? "http://127.0.0.1:8080"),
            let key = environment["CUSTOMERD_CLIENT_KEY"], let secret = environment["CUSTOMERD_CLIENT_SECRET"],
            !arguments[0].isEmpty, !key.isEmpty, !secret.isEmpty
        else {
            say(usage)
            return 2
        }
        let idempotencyKey = arguments.dropFirst(2).first ?? UUID().uuidString
        let customers = Customers(url: url, clientKey: key, clientSecret: secret)
        do {
            let answer = try await customers.delete(arguments[0], idempotencyKey: idempotencyKey, within: seconds) {
                say("delete-customer: \($0)")
            }
            print(answer.body)
            return answer.status == 200 ? 0 : 1
        } catch {
            say("delete-customer: gave up, \(error.reason); try again with the idempotency key \(idempotencyKey)")
            return 75
        }
    }

    private static func say(_ sentence: String) {
        FileHandle.standardError.write(Data("\(sentence)\n".utf8))
    }
}

struct Customers {
    let url: URL
    let clientKey: String
    let clientSecret: String

    /// There was no final answer in time. Whether the customer is deleted isn't known.
    struct GaveUp: Error {
        let reason: String
    }

    /// The final answer to a deletion, whatever it took.
    ///
    /// - Parameters:
    ///   - idempotencyKey: the same for every call with this intention.
    ///   - seconds: until it gives up.
    ///   - log: told before each wait why, and how long.
    /// - Throws: when there is none in time; call it again with the same key then.
    func delete(
        _ customer: String, idempotencyKey: String, within seconds: Double, log: (String) -> Void = { _ in }
    ) async throws(GaveUp) -> Answer {
        let deadline = ContinuousClock.now + .seconds(seconds)
        var tries = 0
        while true {
            let reason: String
            var wait = Double.random(in: 0...min(10, 0.2 * pow(2, Double(tries))))
            do {
                let left = (deadline - .now) / .seconds(1)
                let answer = try await attempt(customer, idempotencyKey, timeout: min(15, left))
                if answer.isFinal { return answer }
                reason = "the service answered \(answer.status)"
                wait += answer.secondsAskedFor
            } catch {
                reason = "there was no answer (\(error.localizedDescription))"
            }
            guard ContinuousClock.now + .seconds(wait) < deadline else { throw GaveUp(reason: reason) }
            log("\(reason); trying again in \(String(format: "%.3f", wait)) s")
            do {
                try await Task.sleep(for: .seconds(wait))
            } catch {
                throw GaveUp(reason: "it was cancelled")
            }
            tries += 1
        }
    }

    private func attempt(_ customer: String, _ idempotencyKey: String, timeout: Double) async throws -> Answer {
        var request = URLRequest(url: url.appendingPathComponent("api/v0/customers/\(customer)"))
        request.httpMethod = "DELETE"
        request.timeoutInterval = max(0.1, timeout)
        request.setValue(clientKey, forHTTPHeaderField: "x-client-key")
        request.setValue(clientSecret, forHTTPHeaderField: "x-client-secret")
        request.setValue(idempotencyKey, forHTTPHeaderField: "idempotency-key")
        let (body, response) = try await URLSession.shared.data(for: request)
        guard let response = response as? HTTPURLResponse else { throw URLError(.badServerResponse) }
        return Answer(response, String(decoding: body, as: UTF8.self))
    }
}

struct Answer {
    let status: Int
    let body: String
    /// How many seconds the service wants to be left alone.
    let secondsAskedFor: Double

    var isFinal: Bool { ![408, 409, 429].contains(status) && status < 500 }

    init(_ response: HTTPURLResponse, _ body: String) {
        func number(_ name: String) -> Double? {
            response.value(forHTTPHeaderField: name).flatMap { Int($0) }.map { Double($0) }
        }
        var seconds = number("Retry-After") ?? 0
        if number("X-RateLimit-Remaining") == 0, let reset = number("X-RateLimit-Reset") {
            // By the service's clock, which may not be this machine's.
            let date = response.value(forHTTPHeaderField: "Date").flatMap { Self.httpDate.date(from: $0) }
            seconds = max(seconds, reset - (date ?? Date()).timeIntervalSince1970)
        }
        self.status = response.statusCode
        self.body = body
        self.secondsAskedFor = seconds
    }

    private static let httpDate: DateFormatter = {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(identifier: "GMT")
        formatter.dateFormat = "EEE, dd MMM yyyy HH:mm:ss zzz"
        return formatter
    }()
}
