import Customers
import HTTPTypes
import Hummingbird
import Logging

/// The outermost layer: reads the edge, turns every error into its three members, echoes `x-request-id`, writes the
/// access log and the metrics.
struct EdgeMiddleware: RouterMiddleware {
    typealias Context = APIContext

    let proxies: TrustedProxies
    let paths: PathTable
    private let metrics = RequestMetrics()

    init(proxies: TrustedProxies, paths: PathTable) {
        self.proxies = proxies
        self.paths = paths
    }

    func handle(
        _ request: Request,
        context: APIContext,
        next: (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        let edge = RequestEdge(request, peer: context.peer, proxies: proxies)
        context.edge = edge
        context.logger[metadataKey: "request_id"] = "\(edge.requestID)"
        if let traceID = edge.traceID { context.logger[metadataKey: "trace_id"] = "\(traceID)" }

        var response: Response
        do {
            guard PathTable.isPlain(request.uri.path) else {
                throw APIError.noRoute(method: request.method.rawValue, path: request.uri.path)
            }
            response = try await next(request, context)
        } catch {
            response = await answer(to: error, request, context)
        }
        // Errors too: a client takes what comes after the head for the next answer.
        if request.method == .head { response = response.createHeadResponse() }
        response.headers[.requestID] = edge.requestID
        response.headers[.cacheControl] = response.headers[.cacheControl] ?? "no-store"
        response.headers[.contentTypeOptions] = "nosniff"
        record(request, context, response)
        return response
    }

    private func answer(to error: any Error, _ request: Request, _ context: APIContext) async -> Response {
        switch error {
        case let error as APIError:
            return Response(error.answer)
        case let error as HTTPError where error.status == .notFound:
            return await paths.refusal(of: request, context)
        default:
            context.logger.error("unforeseen error", metadata: ["type": "\(type(of: error))"])
            return Response(APIError.unforeseen.answer)
        }
    }

    private func record(_ request: Request, _ context: APIContext, _ response: Response) {
        let elapsed = ContinuousClock.now - context.arrival
        let route = context.endpointPath.map { $0.hasPrefix("/") ? $0 : "none" } ?? "none"
        metrics.record(request.method, route: route, status: response.status.code, elapsed)
        // The route, not the path: no identifier of a person gets into the log.
        context.logger.info(
            "request",
            metadata: [
                "method": "\(request.method.rawValue)", "route": "\(route)", "status": "\(response.status.code)",
                "microseconds":
                    "\(elapsed.components.attoseconds / 1_000_000_000_000 + elapsed.components.seconds * 1_000_000)",
            ]
        )
    }
}
