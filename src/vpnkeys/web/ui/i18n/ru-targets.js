// Russian, for what a check of a target says in English. {} is what differs each time; the first that fits counts.
export default {
  "{}: this host does not trust its certificate ({})": "{}: эта машина не доверяет его сертификату ({})",
  "{}: no X25519MLKEM768; browsers use it, so that its absence may stand out": "{}: нет X25519MLKEM768; браузеры его используют, и его отсутствие может быть заметно",
  "{} answers {}, REALITY needs TLS 1.3; choose another server name": "{} отвечает по {}, а REALITY нужен TLS 1.3; выберите другое имя сервера",
  "{} does not speak h2 (HTTP/2); choose another server name": "{} не поддерживает h2 (HTTP/2); выберите другое имя сервера",
  "{} has no certificate for {}; choose a name that is the target's own, or leave VPNKEYS_REALITY_TARGET empty":
    "у {} нет сертификата для {}; выберите имя самой цели или оставьте VPNKEYS_REALITY_TARGET пустым",
  "{} answers, but no client gets through; choose another server name": "{} отвечает, но приложения через него не подключаются; выберите другое имя сервера",
  "{} does not complete a TLS 1.3 handshake with X25519; choose another server name": "{} не завершает рукопожатие TLS 1.3 с X25519; выберите другое имя сервера",
  "{} does not answer as TLS 1.3 does; choose another server name": "{} отвечает не так, как TLS 1.3; выберите другое имя сервера",
  "{} sends a certificate record of {} bytes, and Xray lets no client in above {}; choose another server name":
    "{} присылает запись с сертификатом в {} байт, а Xray никого не пускает, если она длиннее {}; выберите другое имя сервера",
  "{} does not complete a TLS handshake ({}); choose another server name": "{} не завершает рукопожатие TLS ({}); выберите другое имя сервера",
  "{} cannot be resolved; check the name, and this server's DNS": "имя {} не находится; проверьте имя и DNS этого сервера",
  "{} does not answer in time; check that this server reaches it": "{} не отвечает вовремя; проверьте, доходит ли до него этот сервер",
  "{} cannot be reached ({}); check that this server reaches it": "до {} не дойти ({}); проверьте, доходит ли до него этот сервер",
};
