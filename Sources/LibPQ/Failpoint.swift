#if DEBUG
    #if canImport(Glibc)
        import Glibc
    #else
        import Darwin
    #endif

    /// Moments of the protocol at which a test can stop a debug build. A release build has nothing of them.
    ///
    /// `CUSTOMERD_FAILPOINTS` names a directory. Whoever first comes to a moment with a file `NAME.armed` there renames
    /// it to `NAME.reached` and waits until that is gone; meanwhile the test does its worst. A moment that was passed
    /// leaves `NAME.passed`.
    private enum Failpoint {
        static let directory = getenv("CUSTOMERD_FAILPOINTS").map { String(cString: $0) }

        static func pass(_ moment: String, in directory: String) async {
            let place = "\(directory)/\(moment)"
            close(open("\(place).passed", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600))
            guard rename("\(place).armed", "\(place).reached") == 0 else { return }
            while access("\(place).reached", F_OK) == 0 {
                // A task of its own: a cancelled one wouldn't sleep.
                await Task { try? await Task.sleep(for: .milliseconds(5)) }.value
            }
        }

        /// What a trip is about: the first function that it calls, without its schema, or else its first word.
        static func subject(of statements: [Statement]) -> String {
            let sql = statements.map(\.sql).joined(separator: "\n")
            return sql.firstMatch(of: /\w+\.(\w+)\(/).map { String($0.1) } ?? String(sql.prefix { $0.isLetter })
        }
    }

    /// Says that a moment has come.
    package nonisolated(nonsending) func failpoint(_ moment: @autoclosure () -> String) async {
        guard let directory = Failpoint.directory else { return }
        await Failpoint.pass(moment(), in: directory)
    }

    /// Says that a moment of a trip has come: "before hold", "sent hold", "answered hold".
    nonisolated(nonsending) func failpoint(_ moment: @autoclosure () -> String, of trip: [Statement]) async {
        await failpoint("\(moment()) \(Failpoint.subject(of: trip))")
    }
#else
    @inlinable @inline(__always)
    package nonisolated(nonsending) func failpoint(_ moment: @autoclosure () -> String) async {}

    @inline(__always)
    nonisolated(nonsending) func failpoint(_ moment: @autoclosure () -> String, of trip: [Statement]) async {}
#endif
