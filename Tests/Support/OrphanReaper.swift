import Foundation
import NIOConcurrencyHelpers

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Ends what the test process leaves running when it ends in an unforeseen way.
///
/// A shell reads the ids of our children and the directories of our clusters from a pipe; when the pipe's other end,
/// this process, is gone, it kills and removes those that are left.
final class OrphanReaper: Sendable {
    static let shared = OrphanReaper()

    private let pipe = Pipe()
    private let shell: NIOLockedValueBox<ChildProcess?>

    private init() {
        let script = """
            trap '' INT TERM HUP
            children=' '
            clusters=' '
            while read -r verb name; do
                case $verb in
                    watch) children="$children$name " ;;
                    forget) children="${children%% $name *} ${children#* $name }" ;;
                    watch-cluster) clusters="$clusters$name " ;;
                    forget-cluster) clusters="${clusters%% $name *} ${clusters#* $name }" ;;
                esac
            done
            for child in $children; do kill -KILL "$child"; done
            for cluster in $clusters; do
                CUSTOMERD_DATA_DIR=$cluster "$0" remove
                ! mountpoint -q "$cluster/wal" || umount -l "$cluster/wal"
                rm -rf "$cluster"
            done
            """
        let reader = pipe.fileHandleForReading.fileDescriptor
        let environment = ProcessInfo.processInfo.environment.filter { ["PATH", "CUSTOMERD_PG_BIN"].contains($0.key) }
        shell = NIOLockedValueBox(
            try? ChildProcess(
                ["/bin/sh", "-c", script, projectFile("scripts/db")], environment: environment, input: reader))
    }

    func watch(_ child: Int32) {
        tell("watch \(child)\n")
    }

    func forget(_ child: Int32) {
        tell("forget \(child)\n")
    }

    /// - Parameter cluster: the directory of a ``PrivateCluster``.
    func watch(cluster: String) {
        tell("watch-cluster \(cluster)\n")
    }

    func forget(cluster: String) {
        tell("forget-cluster \(cluster)\n")
    }

    private func tell(_ line: String) {
        try? pipe.fileHandleForWriting.write(contentsOf: Data(line.utf8))
    }
}
