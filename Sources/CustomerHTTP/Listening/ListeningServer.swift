import NIOCore
import ServiceLifecycle

/// A server whose failure to listen names the address.
struct ListeningServer: Service {
    let server: any Service
    let address: ListenAddress

    func run() async throws {
        do {
            try await server.run()
        } catch let error as IOError {
            throw ListenError(address, error)
        }
    }
}
