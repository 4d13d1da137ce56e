import Dispatch

extension Connection {
    /// Opens a session.
    ///
    /// Name lookup and connecting run on threads of the connection; the caller isn't held up by them past the deadline.
    ///
    /// - Throws: ``DatabaseError/unavailable(_:)`` with libpq's reason, also once the deadline has passed, or
    ///   ``DatabaseError/cancelled``.
    ///
    /// Source: PostgreSQL manual, libpq, "Database Connection Control Functions".
    public static func connect(
        _ settings: ConnectionSettings, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Connection {
        try await connect(settings, deadline: deadline, onClose: {})
    }

    /// - Parameter onClose: called once, when an established session has come to its end.
    static func connect(
        _ settings: ConnectionSettings, deadline: ContinuousClock.Instant, onClose: @escaping @Sendable () -> Void
    ) async throws(DatabaseError) -> Connection {
        _ = PQSignals.ignoreBrokenPipes
        let connection = Connection(settings: settings, onClose: onClose)
        let opened = OneShot<Result<Void, DatabaseError>>()
        Task { opened.set(await connection.open(deadline: deadline)) }
        // The connection's own queue may be stuck in a name lookup, so its timer isn't enough.
        let remaining = ContinuousClock.now.duration(to: deadline) + .milliseconds(20)
        DispatchQueue.global().asyncAfter(deadline: .now() + .nanoseconds(remaining.boundedNanoseconds)) {
            opened.set(.failure(.connectDeadlinePassed))
        }
        let result = await withTaskCancellationHandler {
            await opened.value
        } onCancel: {
            opened.set(.failure(.cancelled))
        }
        switch result {
        case .success:
            return connection
        case .failure(let error):
            Task { await connection.abandon() }
            throw error
        }
    }

    private func open(deadline: ContinuousClock.Instant) async -> Result<Void, DatabaseError> {
        guard PQConnection.isWellFormed(conninfo: settings.conninfo) else {
            return .failure(.unavailable("the connection string is malformed"))
        }
        var silent: Set<Host> = []
        var overrides: [(name: String, value: String)] = []
        while true {
            guard let pq = PQConnection(keywords: keywords + overrides) else {
                return .failure(.unavailable("out of memory"))
            }
            switch await establish(pq, deadline: deadline) {
            case .established:
                return adopt(pq) ? .success(()) : .failure(.unavailable("the connection was given up"))
            case .failed(let reason):
                return .failure(.unavailable(reason))
            case .silent(let host):
                silent.insert(host)
                guard ContinuousClock.now < deadline, let others = HostList(pq.options).without(silent) else {
                    return .failure(.connectDeadlinePassed)
                }
                overrides = others.keywords
            }
        }
    }

    private var keywords: [(name: String, value: String)] {
        [
            // Kerberos would block, and its buffering can hide data from the socket; who wants it can say so.
            ("gssencmode", "disable"),
            ("fallback_application_name", settings.applicationName),
            ("dbname", settings.conninfo),
            ("client_encoding", "UTF8"),
        ]
    }

    private enum Establishment {
        case established
        case failed(String)
        /// This host hasn't answered in its time.
        case silent(Host)
    }

    private func establish(_ pq: PQConnection, deadline: ContinuousClock.Instant) async -> Establishment {
        var host = Host(pq)
        var hostDeadline = min(deadline, .now + settings.connectTimeout)
        // Source: manual, PQconnectStartParams: behave as if PQconnectPoll had asked for writing.
        var polling = pq.isBad ? PQConnection.Polling.failed : .writing
        while true {
            switch polling {
            case .ready: return .established
            case .failed: return .failed(pq.errorMessage)
            case .reading, .writing: break
            }
            if Host(pq) != host {
                host = Host(pq)
                hostDeadline = min(deadline, .now + settings.connectTimeout)
            }
            // The descriptor may be another one at every step, so each has a watch of its own.
            let watch = SocketWatch(socket: pq.socket, queue: executor.queue) { [weak self] in
                self?.assumeIsolated { $0.connectSocketIsReady() }
            }
            guard let watch else { return .failed("the socket is gone") }
            defer { watch.cancel() }
            if polling == .reading { watch.watchReading() } else { watch.watchWriting() }
            switch await wait(for: .connect, until: hostDeadline) {
            case .ready: polling = pq.poll()
            case .deadline: return .silent(host)
            case .lost, .abandoned: return .failed("the connection was given up")
            }
        }
    }
}

extension DatabaseError {
    fileprivate static let connectDeadlinePassed = DatabaseError.unavailable("connecting took too long")
}

/// A host out of those that a connection string names.
private struct Host: Hashable {
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
/// libpq itself would go on to the next host after `connect_timeout`, but not for who polls; so the connection is
/// started again with those that are left.
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

    var keywords: [(name: String, value: String)] {
        var keywords = [("port", hosts.map(\.port).joined(separator: ","))]
        if hasNames { keywords.append(("host", hosts.map(\.name).joined(separator: ","))) }
        if hasAddresses { keywords.append(("hostaddr", hosts.map(\.address).joined(separator: ","))) }
        return keywords.map { (name: $0.0, value: $0.1) }
    }
}
