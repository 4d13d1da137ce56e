import CustomerHTTP
import Customers
import LibPQ
import Logging
import ServiceLifecycle

/// The composition root: the only place where the parts are put together.
struct App: Sendable {
    private let settings: Settings
    private let prometheus: PrometheusRegistry
    private let logger: Logger

    /// - Parameter metrics: the registry that swift-metrics was set up with.
    init(settings: Settings, metrics prometheus: PrometheusRegistry, logger: Logger) {
        self.settings = settings
        self.prometheus = prometheus
        self.logger = logger
    }

    /// Everything that `serve` runs, in the order in which it starts; it stops in the reverse order, so requests are
    /// finished before the connections that they need are closed.
    func services() throws -> [any Service] {
        let main = pool("main", size: settings.poolSize)
        let tenants = pool("audit", size: 1)
        let strangers = pool("audit-strangers", size: 1)
        let recovering = pool("recovery", size: 1)
        let checking = pool("readiness", size: 1)

        let givenUp = GivenUpAttempts()
        let admission = Admission(pool: main, givenUp: givenUp, limits: settings.limits)
        let audit = AuditWriter(
            tenants: tenants, strangers: strangers, substitute: main, givenUp: givenUp, logger: logger)
        let readPath = ReadPath(admission: admission, pool: main, logger: logger)
        let api = CustomerAPI(
            commands: commands(admission, audit, givenUp, main),
            customers: CustomerQueries(readPath: readPath),
            audit: AuditQueries(readPath: readPath),
            limits: settings.limits,
            proxies: try TrustedProxies(settings.trustedProxies),
            isReady: { [readiness = Readiness(pool: checking)] in await readiness() },
            metrics: prometheus.text
        )
        let pools: [any Service] = [main, tenants, strangers, recovering, checking].map(PoolService.init)
        let servers = try api.services(address: address, limits: try clientLimits(), logger: logger)
        let recovery = Recovery(pool: recovering, substitute: main, givenUp: givenUp, logger: logger)
        return pools + [recovery] + servers
    }

    private func clientLimits() throws -> ClientLimits {
        let descriptors = DescriptorLimit.raise()
        let connections = try settings.connections(descriptors: descriptors)
        logger.info("limits", metadata: ["descriptors": "\(descriptors)", "connections": "\(connections)"])
        return ClientLimits(
            connections: connections, arrival: settings.limits.requestTimeout, silence: settings.idleTimeout)
    }

    private func commands(
        _ admission: Admission, _ audit: AuditWriter, _ givenUp: GivenUpAttempts, _ pool: ConnectionPool
    ) -> CustomerCommands {
        let unitOfWork = UnitOfWork(pool: pool, givenUp: givenUp)
        let deleteCustomer = DeleteCustomer(unitOfWork: unitOfWork, pool: pool)
        return CustomerCommands(
            writePath: WritePath(admission: admission, audit: audit, logger: logger),
            createCustomer: CreateCustomer(unitOfWork: unitOfWork),
            changeCustomer: ChangeCustomer(unitOfWork: unitOfWork),
            redactCustomer: RedactCustomer(unitOfWork: unitOfWork),
            restoreCustomer: RestoreCustomer(unitOfWork: unitOfWork, days: settings.restoreDays),
            deleteCustomer: deleteCustomer,
            bulkDelete: BulkDelete(
                deleteCustomer: deleteCustomer, unitOfWork: unitOfWork, pool: pool, audit: audit, givenUp: givenUp)
        )
    }

    private func pool(_ name: String, size: Int) -> ConnectionPool {
        ConnectionPool(
            settings: ConnectionSettings(
                conninfo: settings.serviceConninfo, preparesStatements: settings.preparesStatements),
            configuration: PoolConfiguration(size: size),
            logger: logger,
            name: name
        )
    }

    private var address: ListenAddress {
        var tls: CertificateFiles?
        if let chain = settings.tlsCertificate, let key = settings.tlsKey {
            tls = CertificateFiles(chain: chain, key: key, interval: settings.tlsReloadInterval)
        }
        return ListenAddress(host: settings.host, port: settings.port, tls: tls)
    }
}

/// A pool as a service: it is kept warm until everything that leases from it has stopped.
private struct PoolService: Service {
    let pool: ConnectionPool

    func run() async throws {
        await cancelWhenGracefulShutdown { await pool.run() }
    }
}
