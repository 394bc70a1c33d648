"""The texts of the table of problems in Russian, for the dashboard. The manual in Russian has the same table."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from vpnkeys.service.health.codes import Code


class Text(NamedTuple):
    """What is wrong, and what to do about it."""

    says: str
    cure: str


_FREE_SPACE = "освободите место: `df -h /var/lib/vpnkeys`"
_WITH_NFT = "`apt-get install nftables`; запускайте службу так, как установлено, с `CAP_NET_ADMIN`; перезапустите её"
_RENEW = "обновите его; `vpnkeys doctor`"

IN_RUSSIAN: Mapping[Code, Text] = MappingProxyType(
    {
        Code.XRAY_NOT_ANSWERING: Text(
            "Xray не отвечает. Через 30 секунд сервер считается неработающим.",
            "`journalctl -u vpnkeys-xray`; `vpnkeys sync --restart`",
        ),
        Code.DATABASE_UNREADABLE: Text(
            "База данных не читается: ключи нельзя ни показать, ни изменить.",
            "`vpnkeys doctor`; если база повреждена, восстановите копию",
        ),
        Code.DATABASE_UNWRITABLE: Text(
            "База данных не принимает запись: ключи нельзя создать или изменить, трафик не сохраняется.",
            "закройте другие программы, которые открыли базу; `df -h /var/lib/vpnkeys` или освободите место на диске "
            "PostgreSQL",
        ),
        Code.DISK_FULL: Text(
            "На диске с каталогом данных нет места: остался только резерв, на остановки и трафик.", _FREE_SPACE
        ),
        Code.DISK_LOW: Text("На диске с каталогом данных почти нет места.", _FREE_SPACE),
        Code.DISK_READ_ONLY: Text(
            "В каталог данных нельзя писать: диск доступен только для чтения или неверны права.",
            "`findmnt -T /var/lib/vpnkeys`; `dmesg`; `mount -o remount,rw`",
        ),
        Code.SECRET_MISSING: Text(
            "В каталоге данных нет секрета или он повреждён: сервер работает, но в следующий раз не запустится.",
            "повреждённый удалите; `vpnkeys system fix-reality-keys` запишет `reality.json` заново, `VPNKEYS_API_KEY` "
            "заменит `api-key.json`",
        ),
        Code.STOPS_PENDING: Text(
            "Xray ещё не подтвердил, что остановленные ключи отключены.", "дождитесь ответа Xray, затем `vpnkeys sync`"
        ),
        Code.STOPS_UNWRITTEN: Text(
            "Ключи остановлены, но база данных этого не сохранила.",
            "освободите место или закройте другие программы, которые открыли базу",
        ),
        Code.REPAIR_LATE: Text(
            "config.json или работающий Xray расходятся с базой данных, и исправить это не удаётся.",
            "`vpnkeys system validate` покажет расхождения; причина в журнале",
        ),
        Code.DRIFT_RETURNS: Text(
            "Другая программа снова и снова меняет config.json или работающий Xray; каждый раз это исправляется.",
            "найдите на этом сервере другую панель или скрипт; каждое исправление — строка журнала с `drift:`",
        ),
        Code.PORT_TAKEN: Text(
            "Порт ключа занят другой программой, другим сервером или вашим inbound: клиенты могут не подключиться.",
            "`vpnkeys system ports-status` назовёт его; остановите ту программу или `vpnkeys keys set ID --port 0`",
        ),
        Code.DOOR_CLOSED: Text(
            "Дверь закрыта: её порт занят другой программой, её адреса нет на этом сервере или Xray её не принимает. "
            "Старые ссылки перенесённых ключей не работают.",
            "`vpnkeys import doors` назовёт причину; остановите ту программу, возможно, это Xray прежней панели; или "
            "`vpnkeys import close-door TAG`",
        ),
        Code.PORTS_RESERVED: Text(
            "У ваших inbound в config.json порты из VPNKEYS_PORT_RANGE. Они остаются; ключи этих портов не получат.",
            "`vpnkeys system ports-status` назовёт их; перенесите их за пределы диапазона",
        ),
        Code.CONFIG_UNFIT: Text(
            "Xray отвергает config.json: это не JSON, или в нём неверны ваши разделы. Без них Xray и запустится.",
            "причину покажет `vpnkeys system xray-config`; исправьте раздел или уберите его",
        ),
        Code.CONFIG_LEFT_OUT: Text(
            "Xray работает без ваших разделов config.json: с ними он не запустился.",
            "исправьте их, причина в журнале Xray; затем `vpnkeys sync --restart`",
        ),
        Code.CONFIG_COMMENTS: Text(
            "В config.json есть комментарии. При следующем изменении ключа они пропадут, копия останется.",
            "храните заметки в другом месте и уберите комментарии",
        ),
        Code.CONFIG_SET_ASIDE: Text(
            "config.json записан заново, а утраченное осталось в копии рядом.",
            "верните нужное в config.json, затем удалите копию или перенесите её",
        ),
        Code.SERVER_ADDRESS: Text(
            "Адрес в ссылках сервер определил сам, и по нему клиенты могут не подключиться.",
            "задайте в `VPNKEYS_SERVER_ADDRESS` адрес или имя, к которому подключаются клиенты; перезапустите службу",
        ),
        Code.NO_SERVER_NAME: Text(
            "Ни одно имя сервера не работает: ключ создать нельзя, клиенты не подключаются. Через 30 секунд сервер "
            "считается неработающим.",
            "`vpnkeys system targets`; проверьте исходящий TCP 443 и DNS",
        ),
        Code.TARGET_DOWN: Text(
            "Цель двери или имени сервера, которое есть у активных ключей, не годится: клиенты могут не подключиться.",
            "`vpnkeys system targets` назовёт её и её ключи; `vpnkeys keys rotate KEY --sni` даст ключу другое имя; "
            "дверь назовёт `vpnkeys import doors`, её клиентам нужны новые ссылки",
        ),
        Code.NODE_SILENT: Text(
            "Об узле не слышно 15 секунд: ключи на нём не создаются, а изменения его ключей ждут его возвращения. "
            "Клиенты могут ничего не заметить.",
            "его назовёт `vpnkeys nodes list`; на его машине проверьте, работает ли `vpnkeys agent` и что в его "
            "журнале. Если машины больше нет: `vpnkeys nodes set NODE --state lost`",
        ),
        Code.CONNECTIONS_NOT_CUT: Text(
            "Открытые соединения остановленных ключей нельзя оборвать.",
            "дайте службе `CAP_NET_ADMIN`: запускайте её так, как установлено",
        ),
        Code.GUARD_NOT_KEPT: Text(
            "Фильтр пакетов не действует: от частных сетей клиентов отделяют только правила Xray, звонки и игры могут "
            "не работать.",
            _WITH_NFT,
        ),
        Code.CONNECTIONS_UNBOUNDED: Text(
            "Ядро не ограничивает число соединений с одного адреса: потоком соединений можно не пустить клиентов.",
            _WITH_NFT,
        ),
        Code.DESCRIPTORS_LOW: Text(
            "Xray занял почти все файловые дескрипторы: когда они кончатся, клиенты не подключатся.",
            "команду, которая их добавит, покажет `vpnkeys doctor`; при атаке уменьшите "
            "`VPNKEYS_CONNECTIONS_PER_SOURCE`",
        ),
        Code.CONNTRACK_LOW: Text(
            "Таблица соединений ядра почти полна: когда она заполнится, сервер не примет новых соединений.",
            "`sysctl -w net.netfilter.nf_conntrack_max=1048576` и то же в файле каталога `/etc/sysctl.d`",
        ),
        Code.SPEED_LIMITS_NOT_KEPT: Text(
            "Ограничения скорости пропали и не восстанавливаются.", "`nft list ruleset`; перезапустите службу"
        ),
        Code.CERTIFICATE_EXPIRED: Text("Срок сертификата API истёк.", _RENEW),
        Code.CERTIFICATE_EXPIRING: Text("Срок сертификата API истекает в течение 14 дней.", _RENEW),
        Code.CERTIFICATE_NOT_YET_VALID: Text(
            "Сертификат API ещё не действует: клиенты его не примут.",
            "установите часы сервера или положите сертификат, который действует сейчас; `vpnkeys doctor`",
        ),
        Code.CERTIFICATE_UNFIT: Text(
            "Файлы сертификата API — не сертификат и его ключ: действует прежний, а следующий запуск не удастся.",
            "положите туда сертификат и его ключ, в PEM и без пароля; `vpnkeys doctor`",
        ),
        Code.CERTIFICATE_RENEWAL: Text(
            "Удостоверяющий центр не выдал сертификат для домена. Действует прежний или самоподписанный.",
            "его слова — в `journalctl -u vpnkeys`. Имя должно вести на этот сервер, а TCP 80 (443, если API там) "
            "должен быть открыт для всех. Попытки повторяются сами",
        ),
        Code.BACKUP_LATE: Text("Ежедневная копия просрочена.", "`vpnkeys backups make`; причина в журнале"),
        Code.WORKER_LATE: Text(
            "Фоновая работа просрочена.", "причина в журнале; если не проходит, перезапустите службу"
        ),
    }
)
