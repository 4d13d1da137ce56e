#if DEBUG
    #if canImport(Glibc)
        import Glibc
    #else
        import Darwin
    #endif

    /// Moments of the protocol at which a test can stop a debug build. A release build doesn't contain them.
    ///
    /// `CUSTOMERD_FAILPOINTS` names a directory. If it contains a file `NAME.armed`, the first task to reach the moment
    /// renames it to `NAME.reached` and waits until the test removes that. A moment that was passed leaves
    /// `NAME.passed`.
    private enum Failpoint {
        static let directory = getenv("CUSTOMERD_FAILPOINTS").map { String(cString: $0) }

        static func pass(_ moment: String, in directory: String) async {
            let place = "\(directory)/\(moment)"
            close(open("\(place).passed", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600))
            guard rename("\(place).armed", "\(place).reached") == 0 else { return }
            while access("\(place).reached", F_OK) == 0 {
                // A task of its own: a canceled one wouldn't sleep.
                await Task { try? await Task.sleep(for: .milliseconds(5)) }.value
            }
        }

        /// The name of a trip: the first function that it calls, without its schema, or else its first word. What it asks
        /// of the catalogue is no step of a protocol.
        static func subject(of statements: [Statement]) -> String {
            let sql = statements.map(\.sql).joined(separator: "\n")
            return sql.firstMatch(of: /\b(?!pg_catalog\.)\w+\.(\w+)\(/).map { String($0.1) }
                ?? String(sql.prefix { $0.isLetter })
        }
    }

    /// Marks a moment.
    package nonisolated(nonsending) func failpoint(_ moment: @autoclosure () -> String) async {
        guard let directory = Failpoint.directory else { return }
        await Failpoint.pass(moment(), in: directory)
    }

    /// Marks a moment of a trip: "before enter", "sent enter", "answered enter".
    nonisolated(nonsending) func failpoint(_ moment: @autoclosure () -> String, of trip: [Statement]) async {
        await failpoint("\(moment()) \(Failpoint.subject(of: trip))")
    }
#else
    @inlinable @inline(__always)
    package nonisolated(nonsending) func failpoint(_ moment: @autoclosure () -> String) async {}

    @inline(__always)
    nonisolated(nonsending) func failpoint(_ moment: @autoclosure () -> String, of trip: [Statement]) async {}
#endif
