import LibPQ

/// Where invented customers come from: their names and phone numbers.
///
/// Every region has sixteen first and sixteen last names, so that the SQL finds them by multiplication.
struct DemoRegion: Sendable {
    static let namesEach = 16

    /// Of a hundred customers, how many are from here.
    let share: Int
    let currency: String
    /// A phone number; every `#` becomes a digit.
    let phone: String
    /// `name`, or `name|how it is written in an e-mail address` where it has other letters than those from A to Z.
    let firstNames: String
    let lastNames: String

    static let all: [DemoRegion] = [
        DemoRegion(
            share: 22, currency: "USD", phone: "+1 202 555 01##",
            firstNames: """
                Olivia Liam Emma Noah Charlotte James Amelia Benjamin Sophia Elijah Harper Marcus Abigail Tyler Naomi \
                Desmond
                """,
            lastNames: """
                Smith Johnson Williams Brown Jones Miller Davis Wilson Anderson Taylor Thomas Washington Bennett \
                O'Connor Reyes Coleman
                """
        ),
        DemoRegion(
            share: 11, currency: "GBP", phone: "+44 20 7946 0###",
            firstNames: """
                Oliver Isla George Freya Arthur Poppy Alfie Florence Rhys Siân|sian Callum Aoife Niamh Gareth Imogen \
                Hamish
                """,
            lastNames: """
                Evans Hughes Clarke Walker MacDonald Fraser Campbell Llewellyn Davies Ashworth Pemberton O'Neill \
                Byrne Fitzgerald Wright Thompson
                """
        ),
        DemoRegion(
            share: 12, currency: "EUR", phone: "+49 30 23125###",
            firstNames: """
                Jörg|jorg Anneliese Lukas Hannah Jürgen|jurgen Lena Matthias Käthe|kathe Felix Mia Björn|bjorn Leonie \
                Günther|gunther Franziska Stefan Zoë|zoe
                """,
            lastNames: """
                Müller|mueller Schmidt Schneider Fischer Weber Schäfer|schaefer Groß|gross Köhler|koehler \
                Krüger|krueger Hoffmann Vogel Böhm|boehm Zimmermann Weiß|weiss Lehmann Jäger|jaeger
                """
        ),
        DemoRegion(
            share: 9, currency: "EUR", phone: "+33 1 99 00 ## ##",
            firstNames: """
                Camille Hugo Chloé|chloe Léo|leo Inès|ines Gaël|gael Élise|elise Théo|theo Maëlys|maelys \
                Raphaël|raphael Océane|oceane Jean-Luc Zoé|zoe François|francois Noémie|noemie Étienne|etienne
                """,
            lastNames: """
                Martin Bernard Dubois Lefèvre|lefevre Moreau Laurent Girard Béranger|beranger Dupont Gauthier Perrin \
                Châtelain|chatelain Roussel Lemaître|lemaitre Fournier Mercier
                """
        ),
        DemoRegion(
            share: 9, currency: "EUR", phone: "+34 91 555 ####",
            firstNames: """
                Lucía|lucia Hugo María|maria Mateo Sofía|sofia Martín|martin José|jose Íñigo|inigo Carmen \
                Álvaro|alvaro Nuria Joaquín|joaquin Begoña|begona Andrés|andres Rocío|rocio Iván|ivan
                """,
            lastNames: """
                García|garcia Rodríguez|rodriguez González|gonzalez Fernández|fernandez López|lopez Martínez|martinez \
                Sánchez|sanchez Pérez|perez Gómez|gomez Muñoz|munoz Álvarez|alvarez Núñez|nunez Ibáñez|ibanez \
                Peña|pena Cortés|cortes Ordóñez|ordonez
                """
        ),
        DemoRegion(
            share: 7, currency: "BRL", phone: "+55 11 95555-####",
            firstNames: """
                Miguel Helena João|joao Alice Antônio|antonio Laura Thiago Conceição|conceicao Caio Júlia|julia \
                Otávio|otavio Beatriz Luís|luis Letícia|leticia Renato Mônica|monica
                """,
            lastNames: """
                Silva Santos Oliveira Souza Araújo|araujo Gonçalves|goncalves Ribeiro Magalhães|magalhaes Carvalho \
                Guimarães|guimaraes Barbosa Simões|simoes Teixeira Falcão|falcao Nogueira Assunção|assuncao
                """
        ),
        DemoRegion(
            share: 6, currency: "PLN", phone: "+48 22 555 ## ##",
            firstNames: """
                Zofia Jakub Małgorzata|malgorzata Łukasz|lukasz Agnieszka Paweł|pawel Bożena|bozena Michał|michal \
                Grażyna|grazyna Tomasz Wójciech|wojciech Ewa Stanisław|stanislaw Katarzyna Władysław|wladyslaw \
                Żaneta|zaneta
                """,
            lastNames: """
                Nowak Kowalska Wiśniewski|wisniewski Wójcik|wojcik Zieliński|zielinski Wróbel|wrobel \
                Jabłoński|jablonski Dąbrowska|dabrowska Król|krol Piątek|piatek Błaszczyk|blaszczyk \
                Gołębiewski|golebiewski Świątek|swiatek Mazur Łuczak|luczak Żak|zak
                """
        ),
        DemoRegion(
            share: 6, currency: "SEK", phone: "+46 8 465 004 ##",
            firstNames: """
                Astrid Björn|bjorn Åsa|asa Søren|soren Linnéa|linnea Mikkel Göran|goran Ingrid Øyvind|oyvind \
                Märta|marta Håkon|hakon Signe Jørgen|jorgen Elin Lars Ylva
                """,
            lastNames: """
                Lindström|lindstrom Andersson Åkesson|akesson Nygård|nygard Sjöberg|sjoberg Bjørnstad|bjornstad \
                Østergaard|ostergaard Hansen Öberg|oberg Nilsson Kjær|kjaer Söderberg|soderberg Dahl \
                Engström|engstrom Holmgren Mårtensson|martensson
                """
        ),
        DemoRegion(
            share: 6, currency: "INR", phone: "+91 22 5550 ####",
            firstNames: """
                Aarav Ananya Vihaan Priya Rohan Kavya Arjun Meera Sanjay Lakshmi Imran Fatima Harpreet Divya Nikhil \
                Zoya
                """,
            lastNames: """
                Sharma Patel Iyer Reddy Singh Banerjee Nair Kulkarni Chatterjee Khan Desai Krishnamurthy Gill Menon \
                Bhattacharya Joshi
                """
        ),
        DemoRegion(
            share: 5, currency: "JPY", phone: "+81 3-5550-####",
            firstNames: """
                陽翔|haruto 結衣|yui 蓮|ren 美咲|misaki 翔太|shota さくら|sakura 健一|kenichi 恵子|keiko 大輔|daisuke 葵|aoi 直樹|naoki \
                智子|tomoko 拓也|takuya 花子|hanako 誠|makoto 真由美|mayumi
                """,
            lastNames: """
                佐藤|sato 鈴木|suzuki 高橋|takahashi 田中|tanaka 渡辺|watanabe 伊藤|ito 山本|yamamoto 中村|nakamura 小林|kobayashi \
                加藤|kato 吉田|yoshida 山田|yamada 松本|matsumoto 井上|inoue 木村|kimura 清水|shimizu
                """
        ),
        DemoRegion(
            share: 4, currency: "AED", phone: "+971 4 555 ####",
            firstNames: """
                Mohammed Aisha Omar Layla Yusuf Mariam Khalid Noor Hassan Salma Tariq Huda Karim Rania Faisal Amira
                """,
            lastNames: """
                Al-Farsi Haddad El-Sayed Mansour Al-Rashid Khoury Nasser Hamdan Al-Zahrani Saleh Barakat Darwish Aziz \
                Qureshi Al-Mutairi Shahin
                """
        ),
        DemoRegion(
            share: 3, currency: "NGN", phone: "+234 1 555 ####",
            firstNames: """
                Chidi Adaeze Olúwaṣeun|oluwaseun Ngozi Emeka Yétúndé|yetunde Tunde Amaka Ìbùkún|ibukun Kelechi \
                Fúnmiláyọ̀|funmilayo Chinwe Babatunde Zainab Ifeanyi Halima
                """,
            lastNames: """
                Okafor Adeyemi Nwosu Balogun Eze Ogunleye Okonkwo Bello Adébáyọ̀|adebayo Ibrahim Uche \
                Ọlátúnjí|olatunji Mohammed Obi Danjuma Akintola
                """
        ),
    ]
}

extension DemoRegion {
    /// The regions as arrays: first names, last names, both as e-mail addresses have them, the region of each of a
    /// hundred customers, phone numbers, currencies.
    static let parameters: [Parameter] = {
        let first = all.flatMap { names(in: $0.firstNames) }
        let last = all.flatMap { names(in: $0.lastNames) }
        assert(first.count == all.count * namesEach && last.count == first.count)
        let regions = all.enumerated().flatMap { Array(repeating: String($0.offset), count: $0.element.share) }
        assert(regions.count == 100)
        return [
            .array(first.map(\.name)), .array(last.map(\.name)), .array(first.map(\.ascii)), .array(last.map(\.ascii)),
            .array(regions), .array(all.map(\.phone)), .array(all.map(\.currency)),
        ]
    }()

    private static func names(in list: String) -> [(name: String, ascii: String)] {
        list.split(separator: " ").map { entry in
            let parts = entry.split(separator: "|").map(String.init)
            return (parts[0], parts.count == 2 ? parts[1] : asciiLetters(of: parts[0]))
        }
    }

    /// Without apostrophes and capitals.
    private static func asciiLetters(of name: String) -> String {
        let letters = name.lowercased().unicodeScalars
            .filter { ("a"..."z").contains($0) || $0 == "-" }
        return String(String.UnicodeScalarView(letters))
    }
}
