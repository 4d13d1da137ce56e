import CPostgres

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

// Every call of libpq is in this file, one to one; nothing here waits, and nothing decides.
// Source: PostgreSQL manual, chapter "libpq — C Library".

/// libpq's `PGconn`. Not `Sendable`: it belongs to one actor.
final class PQConnection {
    struct Keyword: Sendable {
        var name: String
        var value: String

        init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    enum Polling {
        case reading
        case writing
        case ready
        case failed
    }

    enum Flushing {
        case done
        case pending
        case failed
    }

    enum TransactionStatus {
        case idle
        case active
        case inTransaction
        case failed
        case unknown
    }

    private let raw: OpaquePointer
    /// What the server sends outside of any statement: the reason why it ends the session.
    private let notices = NoticeReceiver()

    /// `PQconnectStartParams`, with the connection string expanded in the place of `dbname`.
    ///
    /// - Parameter keywords: later ones prevail over earlier ones.
    init?(keywords: [Keyword]) {
        let names = keywords.map { strdup($0.name) } + [nil]
        let values = keywords.map { strdup($0.value) } + [nil]
        defer { for string in names + values { free(string) } }
        let raw = names.map { UnsafePointer($0) }.withUnsafeBufferPointer { names in
            values.map { UnsafePointer($0) }.withUnsafeBufferPointer { values in
                PQconnectStartParams(names.baseAddress, values.baseAddress, 1)
            }
        }
        guard let raw else { return nil }
        self.raw = raw
        PQsetNoticeReceiver(raw, receiveNotice, Unmanaged.passUnretained(notices).toOpaque())
    }

    deinit {
        PQfinish(raw)
    }

    /// Whether libpq can parse a connection string. This comes first, because libpq's error message would contain the
    /// string with its password.
    static func isWellFormed(conninfo: String) -> Bool {
        guard let options = PQconninfoParse(conninfo, nil) else { return false }
        defer { PQconninfoFree(options) }
        var option = options
        while let keyword = option.pointee.keyword {
            let values = option.pointee.val.map { String(cString: $0).split(separator: ",") } ?? []
            switch String(cString: keyword) {
            // With an unescaped @, libpq takes a part of the password as the host, which error messages contain.
            case "host" where values.contains { $0.dropFirst().contains("@") }: return false
            // libpq itself checks the port only when it connects.
            case "port" where values.contains { UInt16($0) == nil }: return false
            default: option += 1
            }
        }
        return true
    }

    /// The options in use, defaults and environment included, that have a value.
    var options: [String: String] {
        guard let options = PQconninfo(raw) else { return [:] }
        defer { PQconninfoFree(options) }
        var values: [String: String] = [:]
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { values[String(cString: keyword)] = String(cString: value) }
            option += 1
        }
        return values
    }

    var isBad: Bool { PQstatus(raw) == CONNECTION_BAD }
    var socket: Int32 { PQsocket(raw) }
    var host: String { PQhost(raw).map { String(cString: $0) } ?? "" }
    var hostAddress: String { PQhostaddr(raw).map { String(cString: $0) } ?? "" }
    var port: String { PQport(raw).map { String(cString: $0) } ?? "" }
    /// The first error that came outside of any statement.
    var notifiedError: ServerError? { notices.error }

    var errorMessage: String {
        let message = PQerrorMessage(raw).map { String(cString: $0) } ?? ""
        return message.split(separator: "\n").joined(separator: "; ")
    }

    var transactionStatus: TransactionStatus {
        switch PQtransactionStatus(raw) {
        case PQTRANS_IDLE: .idle
        case PQTRANS_ACTIVE: .active
        case PQTRANS_INTRANS: .inTransaction
        case PQTRANS_INERROR: .failed
        default: .unknown
        }
    }

    func poll() -> Polling {
        switch PQconnectPoll(raw) {
        case PGRES_POLLING_READING: .reading
        case PGRES_POLLING_WRITING: .writing
        case PGRES_POLLING_OK: .ready
        default: .failed
        }
    }

    func setNonBlocking() -> Bool { PQsetnonblocking(raw, 1) == 0 }

    func cancelToken() -> PQCancelToken? { PQgetCancel(raw).map { PQCancelToken($0) } }

    /// Reads what the socket holds. False if the connection is broken; what had come before can still be taken.
    func consumeInput() -> Bool {
        guard PQconsumeInput(raw) == 1 else { return false }
        // A TLS record may have been read in part: the rest is in OpenSSL's buffer, and `poll` doesn't report it.
        while let tls = PQsslStruct(raw, "OpenSSL"), let pending = sslPending, pending(tls) > 0 {
            guard PQconsumeInput(raw) == 1 else { return false }
        }
        return true
    }

    var isBusy: Bool { PQisBusy(raw) == 1 }

    func flush() -> Flushing {
        switch PQflush(raw) {
        case 0: .done
        case 1: .pending
        default: .failed
        }
    }

    /// `PQgetResult`: blocks if ``isBusy`` is true and the connection isn't broken.
    func nextResult() -> PQResult? { PQgetResult(raw).map { PQResult($0) } }

    func enterPipeline() -> Bool { PQenterPipelineMode(raw) == 1 }
    func exitPipeline() -> Bool { PQexitPipelineMode(raw) == 1 }
    func sync() -> Bool { PQpipelineSync(raw) == 1 }
    func setSingleRowMode() -> Bool { PQsetSingleRowMode(raw) == 1 }

    func send(script: String) -> Bool { PQsendQuery(raw, script) == 1 }

    func send(_ sql: String, _ parameters: [Parameter]) -> Bool {
        PQArguments(parameters).withPointers { count, types, values, lengths, formats in
            PQsendQueryParams(raw, sql, count, types, values, lengths, formats, 0) == 1
        }
    }

    func send(prepared name: String, _ parameters: [Parameter]) -> Bool {
        PQArguments(parameters).withPointers { count, _, values, lengths, formats in
            PQsendQueryPrepared(raw, name, count, values, lengths, formats, 0) == 1
        }
    }

    func prepare(_ name: String, _ sql: String, _ parameters: [Parameter]) -> Bool {
        PQArguments(parameters).withPointers { count, types, _, _, _ in
            PQsendPrepare(raw, name, sql, count, types) == 1
        }
    }
}

/// A connection that is handed from the task that established it to the actor that uses it.
///
/// `@unchecked Sendable`: the sender doesn't touch it again.
struct PQTransfer: @unchecked Sendable {
    let connection: PQConnection
}

/// Prevents libpq from printing notices, and remembers why the server ended the session.
private final class NoticeReceiver {
    var error: ServerError?
}

private func receiveNotice(_ context: UnsafeMutableRawPointer?, _ notice: OpaquePointer?) {
    guard let context, let notice, let error = ServerError(fields: notice), error.endsSession else { return }
    let receiver = Unmanaged<NoticeReceiver>.fromOpaque(context).takeUnretainedValue()
    if receiver.error == nil { receiver.error = error }
}

/// OpenSSL's `SSL_pending`, from the library that libpq has loaded.
private let sslPending: (@convention(c) (UnsafeMutableRawPointer) -> Int32)? = dlsym(nil, "SSL_pending").map {
    unsafeBitCast($0, to: (@convention(c) (UnsafeMutableRawPointer) -> Int32).self)
}

/// libpq's `PGcancel`.
///
/// `@unchecked Sendable`: libpq documents `PQcancel` as safe on any thread, and the object never changes.
final class PQCancelToken: @unchecked Sendable {
    private let raw: OpaquePointer

    init(_ raw: OpaquePointer) {
        self.raw = raw
    }

    deinit {
        PQfreeCancel(raw)
    }

    /// Asks the server to cancel what the session is doing. Opens a connection of its own and **blocks**.
    func cancel() {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
            _ = PQcancel(raw, buffer.baseAddress, 256)
        }
    }
}

/// libpq's `PGresult`.
///
/// `@unchecked Sendable`: it is the only owner of the pointer, and a finished result is only read.
final class PQResult: @unchecked Sendable {
    enum Status {
        /// Rows, possibly none.
        case rows
        case singleRow
        case command
        case failed
        /// Skipped, because an earlier statement of the pipeline had failed.
        case aborted
        case sync
        case copy
    }

    private let raw: OpaquePointer
    let status: Status
    let columns: [String]

    init(_ raw: OpaquePointer) {
        self.raw = raw
        status =
            switch PQresultStatus(raw) {
            case PGRES_TUPLES_OK: .rows
            case PGRES_SINGLE_TUPLE: .singleRow
            case PGRES_COMMAND_OK, PGRES_EMPTY_QUERY: .command
            case PGRES_PIPELINE_ABORTED: .aborted
            case PGRES_PIPELINE_SYNC: .sync
            case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH: .copy
            default: .failed
            }
        columns = (0..<PQnfields(raw)).map { PQfname(raw, $0).map { String(cString: $0) } ?? "" }
    }

    deinit {
        PQclear(raw)
    }

    var rowCount: Int32 { PQntuples(raw) }
    var commandTag: String { PQcmdStatus(raw).map { String(cString: $0) } ?? "" }
    /// The error that the server sent; nil if libpq itself gave up.
    var serverError: ServerError? { ServerError(fields: raw) }

    func text(row: Int32, column: Int32) -> String? {
        guard PQgetisnull(raw, row, column) == 0, let value = PQgetvalue(raw, row, column) else { return nil }
        let length = Int(PQgetlength(raw, row, column))
        return String(decoding: UnsafeRawBufferPointer(start: value, count: length), as: UTF8.self)
    }

    /// The bytes of a `bytea` in text format.
    func bytes(row: Int32, column: Int32) -> [UInt8]? {
        guard PQgetisnull(raw, row, column) == 0, let value = PQgetvalue(raw, row, column) else { return nil }
        var length = 0
        guard let bytes = PQunescapeBytea(value, &length) else { return nil }
        defer { PQfreemem(bytes) }
        return Array(UnsafeBufferPointer(start: bytes, count: length))
    }
}

extension ServerError {
    /// The fields of an error or notice; nil if it has no SQLSTATE, because libpq itself made it.
    fileprivate init?(fields raw: OpaquePointer) {
        func field(_ code: Unicode.Scalar) -> String? {
            PQresultErrorField(raw, Int32(code.value)).map { String(cString: $0) }
        }
        guard let sqlstate = field("C") else { return nil }
        self.init(
            severity: field("V") ?? field("S") ?? "ERROR",
            sqlstate: SQLState(rawValue: sqlstate),
            message: field("M") ?? "",
            detail: field("D"),
            hint: field("H"),
            schema: field("s"),
            table: field("t"),
            column: field("c"),
            constraint: field("n"),
            context: field("W")
        )
    }

    /// The function in the server's source that raised the error, which distinguishes one 0A000 from another.
    fileprivate static func routine(_ raw: OpaquePointer) -> String? {
        PQresultErrorField(raw, Int32(("R" as Unicode.Scalar).value)).map { String(cString: $0) }
    }
}

extension PQResult {
    /// The statement's plan is out of date or gone: prepared again, the statement runs.
    var isStalePlan: Bool {
        guard status == .failed, let state = serverError?.sqlstate else { return false }
        return state == .invalidStatementName
            || state == .featureNotSupported && ServerError.routine(raw) == "RevalidateCachedQuery"
    }
}

/// Parameters in libpq's layout.
private struct PQArguments {
    private static let byteaOID: Oid = 17

    private var storage: [UInt8] = []
    private var offsets: [Int?] = []
    private var lengths: [Int32] = []
    private var formats: [Int32] = []
    private var types: [Oid] = []

    init(_ parameters: [Parameter]) {
        for parameter in parameters {
            switch parameter {
            case .null:
                append(offset: nil, length: 0, format: 0, type: 0)
            case .text(let text):
                append(offset: storage.count, length: 0, format: 0, type: 0)
                storage.append(contentsOf: Array(text.utf8))
                storage.append(0)
            case .bytes(let bytes):
                append(offset: storage.count, length: Int32(bytes.count), format: 1, type: Self.byteaOID)
                storage.append(contentsOf: bytes)
                storage.append(0)
            }
        }
    }

    private mutating func append(offset: Int?, length: Int32, format: Int32, type: Oid) {
        offsets.append(offset)
        lengths.append(length)
        formats.append(format)
        types.append(type)
    }

    func withPointers<T>(
        _ body: (
            Int32, UnsafePointer<Oid>?, UnsafePointer<UnsafePointer<CChar>?>?, UnsafePointer<Int32>?,
            UnsafePointer<Int32>?
        ) -> T
    ) -> T {
        storage.withUnsafeBytes { storage in
            let values = offsets.map { offset in
                offset.flatMap { storage.baseAddress?.advanced(by: $0).assumingMemoryBound(to: CChar.self) }
            }
            return body(Int32(offsets.count), types, values, lengths, formats)
        }
    }
}

/// A write to a socket that the server has closed returns an error instead of ending the process.
enum PQSignals {
    static let ignoreBrokenPipes: Void = {
        _ = signal(SIGPIPE, SIG_IGN)
    }()
}
