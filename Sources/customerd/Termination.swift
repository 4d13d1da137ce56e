import AuditTrail
import Administration
import ArgumentParser
import CustomerHTTP
import Customers
import LibPQ
import SystemPackage

/// How a command that failed ends: the only place that maps errors to exit codes and sentences.
struct Termination {
    private static let negative: Int32 = 1
    private static let badUsage: Int32 = 2
    private static let unreachable: Int32 = 3

    /// What a database answers in which a schema, table, column, function or type is missing.
    private static let missingSchema: [SQLState] = [
        .undefinedTable, .undefinedFunction, "3F000", "42703", "42704",
    ]

    let code: Int32
    let message: String

    init(_ error: any Error) {
        if let error = error as? SettingsError {
            self.init(code: Self.badUsage, message: "\(error)")
        } else if let error = error as? FileError {
            self.init(code: Self.badUsage, message: "\(error)")
        } else if let error = error as? CertificateError {
            let variable = error.part == .key ? "CUSTOMERD_TLS_KEY" : "CUSTOMERD_TLS_CERTIFICATE"
            self.init(code: Self.badUsage, message: "\(variable): \(error)")
        } else if let error = Self.databaseError(in: error) {
            self.init(error)
        } else if error is ReapplyError || error is NegativeAnswer {
            self.init(code: Self.negative, message: "\(error)")
        } else if error is HealthError {
            self.init(code: Self.unreachable, message: "\(error)")
        } else if error is ServeGuardError {
            // The settings name an unsuitable database or role.
            self.init(code: Self.badUsage, message: "\(error)")
        } else if let error = error as? MigrationError {
            self.init(code: error.isMissingPrivilege ? Self.badUsage : Self.negative, message: "\(error)")
        } else if let error = error as? APIKeyError {
            self.init(code: error.isBadUsage ? Self.badUsage : Self.negative, message: "\(error)")
        } else {
            // The parser's own: help, wrong arguments, an exit code.
            let code = CommandLineInterface.exitCode(for: error)
            self.init(
                code: code == .validationFailure ? Self.badUsage : code.rawValue,
                message: CommandLineInterface.fullMessage(for: error)
            )
        }
    }

    private init(code: Int32, message: String) {
        self.code = code
        self.message = message
    }

    private init(_ error: DatabaseError) {
        switch error {
        case .unavailable(let reason):
            self.init(
                code: Self.unreachable,
                message: "The database can't be reached: \(reason.replacing("\t", with: ""))"
            )
        case .connectionLost(let reason?):
            self.init(code: Self.unreachable, message: "The connection to the database was lost: \(reason.message)")
        case .connectionLost(nil):
            self.init(code: Self.unreachable, message: "The connection to the database was lost.")
        case .deadlineExceeded:
            self.init(code: Self.unreachable, message: "The database didn't answer in time.")
        case .cancelled:
            self.init(code: Self.negative, message: "Cancelled.")
        case .unexpected(let answer):
            self.init(code: Self.unreachable, message: "The database gave an unexpected answer: \(answer).")
        case .server(let error) where Self.missingSchema.contains(error.sqlstate):
            // The settings name a database that isn't migrated, or not up to this version.
            self.init(
                code: Self.badUsage,
                message: "The database lacks the schema (\(error.message)): run `customerd migrate` first."
            )
        case .server(let error) where error.sqlstate == .insufficientPrivilege:
            self.init(
                code: Self.badUsage,
                message: """
                    The role lacks a privilege (\(error.message)): connect as the owner, with \
                    CUSTOMERD_MIGRATE_DATABASE_URL.
                    """
            )
        case .server(let error):
            // A timeout, a failure: whatever was asked has no answer, so not a negative one. A chain isn't broken by it.
            self.init(code: Self.unreachable, message: "The database refused: \(error)")
        }
    }

    private static func databaseError(in error: any Error) -> DatabaseError? {
        switch error {
        case let error as DatabaseError: return error
        case MigrationError.database(let error): return error
        case ServeGuardError.database(let error): return error
        case APIKeyError.database(let error): return error
        default: return nil
        }
    }

    func exit() -> Never {
        if !message.isEmpty {
            let stream = code == 0 ? FileDescriptor.standardOutput : FileDescriptor.standardError
            _ = try? stream.writeAll("\(message.visibleLines)\n".utf8)
            if code != 0, CommandLine.arguments.contains("--json") {
                let json: JSON = ["error": .string(message), "exit_code": .int(Int(code))]
                _ = try? FileDescriptor.standardOutput.writeAll("\(json.text)\n".utf8)
            }
        }
        CommandLineInterface.exit(withError: ExitCode(code))
    }
}

extension APIKeyError {
    fileprivate var isBadUsage: Bool {
        switch self {
        case .beyondRole, .expiryIsPast: true
        case .unknownKey, .revoked, .expired, .brokenChain, .database: false
        }
    }
}

extension MigrationError {
    fileprivate var isMissingPrivilege: Bool {
        switch self {
        case .insufficientPrivilege, .cannotGrant: true
        case .schema, .encoding, .foreign, .failed, .database: false
        }
    }
}
