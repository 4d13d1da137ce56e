import Customers
import HTTPTypes
import Hummingbird

/// Which paths there are, and which methods each of them has, to tell 405 from 404.
struct PathTable: Sendable {
    private let resolver: any HTTPResponder<APIContext>

    init(_ routes: [Route]) {
        let router = Router(context: APIContext.self)
        for (path, routes) in Dictionary(grouping: routes, by: \.path) {
            let methods = Set(routes.map(\.method.rawValue) + (routes.contains(where: \.answersHead) ? ["HEAD"] : []))
            let allow = methods.sorted().joined(separator: ", ")
            router.get(RouterPath(path)) { _, context in
                context.coreContext.endpointPath.value = path
                return Response(status: .methodNotAllowed, headers: [.allow: allow])
            }
        }
        self.resolver = router.buildResponder()
    }

    /// Whether a path can be that of a route, letter for letter. The router ignores empty segments, and proxies may
    /// resolve `.` and `..` or decode separators: a path that isn't the same to all would get around rules by path.
    static func isPlain(_ path: String) -> Bool {
        guard path.utf8.first == UInt8(ascii: "/") else { return false }
        return path.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            .allSatisfy { segment in
                guard !segment.isEmpty else { return path == "/" }
                let decoded = Substring(segment).percentDecodedWherePossible
                return decoded != "." && decoded != ".." && !decoded.utf8.contains(UInt8(ascii: "/"))
                    && !decoded.utf8.contains(UInt8(ascii: "\\"))
            }
    }

    /// 405 with `Allow` when the path exists under other methods, else 404.
    func refusal(of request: Request, _ context: APIContext) async -> Response {
        let method = request.method.rawValue
        let path = request.uri.path
        var head = request.head
        head.method = .get
        let known = try? await resolver.respond(to: Request(head: head, body: .init(buffer: .init())), context: context)
        guard let allow = known?.headers[.allow] else {
            return Response(APIError.noRoute(method: method, path: path).answer)
        }
        var response = Response(APIError.methodNotAllowed(method: method, path: path).answer)
        response.headers[.allow] = allow
        return response
    }
}
