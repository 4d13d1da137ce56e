import Foundation
import NIOConcurrencyHelpers

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Ends what the test process leaves running when it ends in an unforeseen way.
///
/// A shell reads the ids of our children from a pipe; when the pipe's other end, this process, is gone, it kills
/// those that are left.
final class OrphanReaper: Sendable {
    static let shared = OrphanReaper()

    private let pipe = Pipe()
    private let shell: NIOLockedValueBox<ChildProcess?>

    private init() {
        let script = """
            trap '' INT TERM HUP
            children=' '
            while read -r verb child; do
                case $verb in
                    watch) children="$children$child " ;;
                    forget) children="${children%% $child *} ${children#* $child }" ;;
                esac
            done
            for child in $children; do kill -KILL "$child"; done
            """
        let reader = pipe.fileHandleForReading.fileDescriptor
        shell = NIOLockedValueBox(try? ChildProcess(["/bin/sh", "-c", script], environment: [:], input: reader))
    }

    func watch(_ child: Int32) {
        tell("watch \(child)\n")
    }

    func forget(_ child: Int32) {
        tell("forget \(child)\n")
    }

    private func tell(_ line: String) {
        try? pipe.fileHandleForWriting.write(contentsOf: Data(line.utf8))
    }
}
