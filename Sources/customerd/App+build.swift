import CustomerHTTP
import Customers
import LibPQ
import Logging
import ServiceLifecycle

/// The composition root: the only place where the parts are assembled.
struct App: Sendable {
    private let settings: Settings
    /// Where apps are, if the database is distributed.
    private let homes: Homes?
    private let prometheus: PrometheusRegistry
    private let logger: Logger

    /// - Parameters:
    ///   - nodes: those of a distributed database; none for a single server.
    ///   - metrics: the registry that swift-metrics was bootstrapped with.
    init(settings: Settings, nodes: [Node], metrics prometheus: PrometheusRegistry, logger: Logger) {
        self.settings = settings
        homes = nodes.isEmpty ? nil : Homes(nodes, settings: Self.connection(settings), logger: logger)
        self.prometheus = prometheus
        self.logger = logger
    }

    /// Everything that `serve` runs, in the order in which it starts. It stops in the reverse order, so requests
    /// finish before the sessions that they need are closed.
    func services() throws -> [any Service] {
        let main = pool("main", size: settings.poolSize)
        let tenants = pool("audit", size: 1)
        let strangers = pool("audit-strangers", size: 1)
        let held = pool("audit-held", size: 1)
        let recovering = pool("recovery", size: 1)
        let checking = pool("readiness", size: 1, placement: nil)
        let following = pool("events", size: 2)

        let clientLimits = try clientLimits()
        // Listeners keep their connections: half of them are left to requests.
        let feed = EventFeed(
            pool: following, listenersPool: main, limit: max(1, clientLimits.connections / 2), logger: logger)
        let givenUp = GivenUpAttempts()
        let memory = CredentialMemory()
        let admission = Admission(
            pool: main, homes: homes, givenUp: givenUp, memory: memory, limits: settings.limits)
        let audit = AuditWriter(
            tenants: tenants, strangers: strangers, held: held, substitute: main, feed: feed, givenUp: givenUp,
            logger: logger)
        let execution = Execution(audit: audit, logger: logger)
        let unitOfWork = UnitOfWork(pool: main, givenUp: givenUp)
        let webhookAddresses = WebhookAddresses(allowed: settings.webhookAllow)
        let webhooks = try webhookSender(webhookAddresses)
        let api = CustomerAPI(
            read: Read(
                admission: admission, execution: execution, pool: main, feed: feed, webhooks: webhooks, logger: logger),
            write: Write(
                admission: admission, execution: execution, secrets: settings.secrets, logger: logger),
            operations: Operations(
                unitOfWork: unitOfWork, execution: execution, pool: main, givenUp: givenUp,
                restoreDays: settings.restoreDays, secrets: settings.secrets, webhookAddresses: webhookAddresses),
            limits: settings.limits,
            proxies: TrustedProxies(settings.trustedProxies),
            isReady: { [readiness = Readiness(pool: checking, serving: main)] in await readiness() },
            metrics: prometheus.text
        )
        // Where sessions are scarce, readiness comes first, which falls back to no other pool, then the main pool, to which
        // the others fall back.
        let pools: [any Service] =
            (homes?.pools ?? []).map { PoolService(pool: $0) }
            + [PoolService(pool: checking), PoolService(pool: main, predecessor: checking)]
            + [tenants, strangers, held, recovering, following].map { PoolService(pool: $0, predecessor: main) }
        let servers = try api.services(address: address, limits: clientLimits, logger: logger)
        let recovery = Recovery(
            pool: recovering, substitute: main, givenUp: givenUp, memory: memory, logger: logger)
        let scheduler = Scheduler(
            unitOfWork: unitOfWork, execution: execution, pool: main, limits: settings.limits, logger: logger)
        let bulkRunner = BulkRunner(
            unitOfWork: unitOfWork, execution: execution, pool: main, limits: settings.limits,
            rate: settings.bulkPerSecond, logger: logger)
        let retention = Retention(pool: main, days: settings.contextRetentionDays, logger: logger)
        let deliverers = webhooks.map {
            WebhookDeliverer(pool: following, substitute: main, sender: $0, logger: logger)
        }
        let workers: [any Service] =
            [recovery, scheduler, bulkRunner, retention, feed] + (deliverers.map { [$0] } ?? [])
        return pools + workers + servers + [EventFeed.Closing(feed)]
    }

    /// What sends to webhooks; nil when they are off.
    private func webhookSender(_ addresses: WebhookAddresses) throws -> WebhookSender? {
        guard let secrets = settings.secrets else {
            logger.notice("webhooks are off: CUSTOMERD_SECRETS_KEY isn't set")
            return nil
        }
        do {
            return try WebhookSender(addresses: addresses, secrets: secrets, authorities: settings.webhookAuthorities)
        } catch {
            guard let file = settings.webhookAuthorities else { throw error }
            throw SettingsError(
                variable: "CUSTOMERD_WEBHOOK_CA", expectation: "the path of a PEM file with certificates", value: file)
        }
    }

    private func clientLimits() throws -> ClientLimits {
        let descriptors = DescriptorLimit.raise()
        let connections = try settings.connections(descriptors: descriptors, nodes: homes?.nodes.count ?? 1)
        logger.info("limits", metadata: ["descriptors": "\(descriptors)", "connections": "\(connections)"])
        return ClientLimits(
            connections: connections, arrival: settings.limits.requestTimeout, silence: settings.idleTimeout)
    }

    private func pool(_ name: String, size: Int) -> ConnectionPool {
        pool(name, size: size, placement: homes)
    }

    private func pool(_ name: String, size: Int, placement: Homes?) -> ConnectionPool {
        ConnectionPool(
            settings: Self.connection(settings),
            configuration: PoolConfiguration(size: size),
            placement: placement,
            logger: logger,
            name: name
        )
    }

    private static func connection(_ settings: Settings) -> ConnectionSettings {
        ConnectionSettings(conninfo: settings.serviceConninfo, preparesStatements: settings.preparesStatements)
    }

    private var address: ListenAddress {
        var tls: CertificateFiles?
        if let chain = settings.tlsCertificate, let key = settings.tlsKey {
            tls = CertificateFiles(chain: chain, key: key, interval: settings.tlsReloadInterval)
        }
        return ListenAddress(host: settings.host, port: settings.port, tls: tls)
    }
}

/// A pool as a service: its connections are kept open until everything that leases from it has stopped.
private struct PoolService: Service {
    let pool: ConnectionPool
    /// The pool that has to have a connection before this one keeps any. On demand this one opens connections before.
    var predecessor: ConnectionPool?

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while let predecessor, !predecessor.isReachable, !Task.isCancelled {
                try? await Task.sleep(for: .milliseconds(20))
            }
            await pool.run()
        }
    }
}
