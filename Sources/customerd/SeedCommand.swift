import AuditTrail
import Administration
import ArgumentParser
import Customers

/// `customerd seed`: demo data.
struct Seed: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "seed",
        abstract: "Create demo customers, some of them with records that prevent their deletion.",
        discussion: "The same --seed creates the same data. Running it again adds as many more."
    )

    @Option(help: "How many customers to create.")
    var customers: Int
    @Option(help: "The app that they belong to, a UUID; by default the demo app.", transform: parseApp)
    var app: UUID = DemoApp.id
    @Option(help: "The fraction of them with records that prevent deletion, from 0 to 1.")
    var blockedFraction = 0.2
    @Option(help: "A number that determines the data.")
    var seed = 1
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...100_000_000).contains(customers) else {
            throw ValidationError("--customers must be a number from 1 to 100000000.")
        }
        guard (0...1).contains(blockedFraction) else {
            throw ValidationError("--blocked-fraction must be a number from 0 to 1.")
        }
    }

    func run() async throws {
        try await CommandRunner.connected(as: "seed") { _, connection in
            let data = DemoData(customers: customers, blockedFraction: blockedFraction, app: app, seed: seed)
            let start = ContinuousClock.now
            let report = try await data.insert(connection, deadline: .now + .seconds(86_400))
            let elapsed = start.duration(to: .now)
            output.print(
                [
                    "app_id": .string(app.text), "customers": .int(report.customers), "blocked": .int(report.blocked),
                    "invoices": .int(report.invoices), "payment_links": .int(report.paymentLinks),
                    "transactions": .int(report.transactions),
                    "liquidation_addresses": .int(report.liquidationAddresses), "seconds": .raw(elapsed.decimal),
                ],
                else: """
                    Created \(report.customers) customers of app \(app.text) in \(elapsed.decimal) s, \(report.blocked) of them with \
                    records: \(report.invoices) invoices, \(report.paymentLinks) payment links, \
                    \(report.transactions) transactions, \(report.liquidationAddresses) liquidation addresses.
                    """
            )
        }
    }
}

extension Duration {
    /// Seconds, with three decimals.
    fileprivate var decimal: String {
        let (seconds, attoseconds) = components
        let thousandths = String(attoseconds / 1_000_000_000_000_000)
        return "\(seconds).\(String(repeating: "0", count: 3 - thousandths.count))\(thousandths)"
    }
}
