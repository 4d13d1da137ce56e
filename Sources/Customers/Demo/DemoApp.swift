public import Foundation

/// The tenant of the demo data, unless one is named.
public enum DemoApp {
    /// `de300000-0000-4000-8000-000000000001`; `scripts/run` has the same.
    public static let id = UUID(
        uuid: (0xde, 0x30, 0x00, 0x00, 0x00, 0x00, 0x40, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01))
}
