/// Establishes one session.
///
/// `PQconnectPoll` looks up names, which blocks, so each of its steps runs on a thread of its own.
struct Connector: Sendable {
    private enum Establishment: Sendable {
        case established
        case failed(String)
        /// This host hasn't answered in time.
        case silent(Host)
    }

    private enum Wake: Sendable {
        case ready
        case deadline
    }

    let settings: ConnectionSettings
    let deadline: ContinuousClock.Instant

    /// Returns at the deadline or the task's cancellation, even if a name lookup doesn't.
    func connect() async throws(DatabaseError) -> PQTransfer {
        guard !Task.isCancelled else { throw .cancelled }
        _ = PQSignals.ignoreBrokenPipes
        let result = OneShot<Result<PQTransfer, DatabaseError>>()
        let attempt = Task { result.set(await establish()) }
        // A little later than the attempt's own deadline, which has the more specific error.
        result.set(.failure(.connectDeadlinePassed), at: deadline + .milliseconds(50))
        return try await withTaskCancellationHandler {
            await result.value
        } onCancel: {
            // First: the attempt ends as one whose time is over.
            result.set(.failure(.cancelled))
            attempt.cancel()
        }.get()
    }

    private func establish() async -> Result<PQTransfer, DatabaseError> {
        guard PQConnection.isWellFormed(conninfo: settings.conninfo) else {
            return .failure(.unavailable("the connection string is malformed"))
        }
        var silent: Set<Host> = []
        var overrides: [PQConnection.Keyword] = []
        while !Task.isCancelled {
            let keywords = keywords + overrides
            guard let transfer = await BlockingWork.run({ PQConnection(keywords: keywords).map(PQTransfer.init) })
            else {
                return .failure(.unavailable("out of memory"))
            }
            switch await establish(transfer) {
            case .established:
                return .success(transfer)
            case .failed(let reason):
                return .failure(.unavailable(reason))
            case .silent(let host):
                silent.insert(host)
                let hosts = HostList(transfer.connection.options)
                guard ContinuousClock.now < deadline, let others = hosts.without(silent) else {
                    return .failure(.connectDeadlinePassed)
                }
                overrides = others.keywords
            }
        }
        return .failure(.cancelled)
    }

    private var keywords: [PQConnection.Keyword] {
        [
            // Kerberos would block, and its buffering can hide data from `poll`. The connection string can enable it.
            PQConnection.Keyword("gssencmode", "disable"),
            PQConnection.Keyword("fallback_application_name", settings.applicationName),
            PQConnection.Keyword("dbname", settings.conninfo),
            PQConnection.Keyword("client_encoding", "UTF8"),
        ]
    }

    private func establish(_ transfer: PQTransfer) async -> Establishment {
        let pq = transfer.connection
        var host = Host(pq)
        var hostDeadline = min(deadline, .now + settings.connectTimeout)
        // Source: manual, PQconnectStartParams: behave as if PQconnectPoll had asked for writing.
        var polling = pq.isBad ? PQConnection.Polling.failed : .writing
        while !Task.isCancelled {
            switch polling {
            case .ready: return .established
            case .failed: return .failed(pq.errorMessage)
            case .reading, .writing: break
            }
            if Host(pq) != host {
                host = Host(pq)
                hostDeadline = min(deadline, .now + settings.connectTimeout)
            }
            guard let wake = await wait(for: polling, on: pq.socket, until: hostDeadline) else {
                return .failed("the socket is gone")
            }
            guard wake == .ready else { return .silent(host) }
            polling = await BlockingWork.run { transfer.connection.poll() }
        }
        return .failed("cancelled")
    }

    /// The descriptor may be another one at every step, so each has a watch of its own.
    private func wait(
        for polling: PQConnection.Polling, on socket: Int32, until deadline: ContinuousClock.Instant
    ) async -> Wake? {
        let wake = OneShot<Wake>()
        guard let watch = SocketWatch(socket: socket, handler: { _ in wake.set(.ready) }) else { return nil }
        defer { watch.cancel() }
        if polling == .reading { watch.watchReading() } else { watch.watchWriting() }
        wake.set(.deadline, at: deadline)
        return await withTaskCancellationHandler {
            await wake.value
        } onCancel: {
            wake.set(.deadline)
        }
    }
}

extension OneShot {
    package func set(_ value: Value, at instant: ContinuousClock.Instant) {
        _ = Reactor.shared.alarm(at: instant) { [weak self] in _ = self?.set(value) }
    }
}

extension DatabaseError {
    static let connectDeadlinePassed = DatabaseError.unavailable("connecting took too long")
}

/// One of the hosts that a connection string names.
private struct Host: Hashable, Sendable {
    var name: String
    var address: String
    var port: String

    init(name: String, address: String, port: String) {
        self.name = name
        self.address = address
        self.port = port
    }

    init(_ pq: PQConnection) {
        self.init(name: pq.host, address: pq.hostAddress, port: pq.port)
    }
}

/// The hosts that a connection string names.
///
/// After `connect_timeout` libpq itself tries the next host, but not with `PQconnectPoll`; so the connection is started
/// again with the hosts that are left.
private struct HostList {
    private var hosts: [Host]
    private let hasNames: Bool
    private let hasAddresses: Bool

    init(_ options: [String: String]) {
        func list(_ keyword: String) -> [String] {
            options[keyword].map { $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init) } ?? []
        }
        let names = list("host")
        let addresses = list("hostaddr")
        let ports = list("port")
        hasNames = !names.isEmpty
        hasAddresses = !addresses.isEmpty
        hosts = (0..<max(names.count, addresses.count)).map { index in
            Host(
                name: names.indices.contains(index) ? names[index] : "",
                address: addresses.indices.contains(index) ? addresses[index] : "",
                port: ports.count == 1 ? ports[0] : ports.indices.contains(index) ? ports[index] : ""
            )
        }
    }

    /// The list without some hosts; nil if none is left.
    func without(_ silent: Set<Host>) -> HostList? {
        var list = self
        list.hosts.removeAll { host in
            silent.contains { silent in
                let isSameHost = host.name.isEmpty ? silent.address == host.address : silent.name == host.name
                return isSameHost && (host.port.isEmpty || silent.port == host.port)
            }
        }
        return list.hosts.isEmpty ? nil : list
    }

    var keywords: [PQConnection.Keyword] {
        let names = hasNames ? [PQConnection.Keyword("host", hosts.map(\.name).joined(separator: ","))] : []
        let addresses =
            hasAddresses ? [PQConnection.Keyword("hostaddr", hosts.map(\.address).joined(separator: ","))] : []
        return names + addresses + [PQConnection.Keyword("port", hosts.map(\.port).joined(separator: ","))]
    }
}
