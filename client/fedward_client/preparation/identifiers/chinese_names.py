"""Names in Chinese texts: a surname and one or two characters where the words around say so."""

import re
from collections.abc import Iterable, Iterator

from fedward_client.preparation.identifiers.patterns import HAN
from fedward_client.preparation.identifiers.spans import Found, Kind

SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田"
    "任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪严牛温芦季俞"
    "章鲁葛伍韦申尤毕聂丛焦向柳邢路岳齐沿梅莫庄辛管祝左涂谷祁时舒耿牟卜詹关苗凌费纪靳盛童欧甄项曲成游阳裴席卫查屈鲍位覃霍翁隋"
    "植甘景薄湛劳冼敖巩邝栾蔺屠胥冷池麦由帅晏仇单包司柏宁柯阮桂闵解强柴华车冉房边阎肖涂闫褚佘付代区邸饶娄滕宫尚"
)
COMPOUND = (
    "欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|令狐|夏侯|司徒|端木|南宫|轩辕|独孤|宇文|长孙"
)
NEVER = "建指示认表嘱会手电知陪已到请随因于男女诉的在今主入出有无患为是与和及或，来自以被由将已未不可需予给行查体自发突感既平否至就复转再后前时曾"
"""What follows a name, and ends none."""
CLINICAL = (
    "查房|查体|高热|高血|高龄|高脂|高度|黄疸|黄染|白细|白天|白带|左侧|左上|左下|左肺|左肾|左膝|左手|左眼|左心|右侧|常规|常年|平素|全身|时有|"
    "曾行|曾有|曾于|于今|于昨|查体|查血|温度|单侧|单纯|解大|解小|成年|安静|文化|方可|石膏|江湖|管床|季节|向家|严重|强烈|盛夏|华法|"
    "金属|毛发|项部|边缘|万古|史无|康复|路上|宫颈|宫内|区域|代谢|关节|包块|易怒|任何|贺尔|汤药|甘油|车祸|游离|章节|尚可|尚未|付费"
)
_SURNAME = rf"(?:{COMPOUND}|[{SURNAMES}])"
_NAME = rf"(?!{CLINICAL})(?P<value>{_SURNAME}(?:[{HAN}](?![{HAN}])|[{HAN}][^\W\d_{NEVER}](?=[^{HAN}]|$|[{NEVER}])|[{HAN}](?=[{NEVER}])))"
_LOOSE = rf"(?!{CLINICAL})(?P<value>{_SURNAME}[{HAN}](?:(?![{NEVER}])[{HAN}])?)"
_END = rf"(?=[^{HAN}]|$|[{NEVER}])"
_ROLE = (
    "患者姓名|患儿姓名|病人姓名|产妇姓名|姓名|联系人|家属签名|家属|患者|病人|患儿|产妇|医师签名|医生签名|签名|签字|主治医师|主治医生|"
    "主任医师|副主任医师|住院医师|经治医师|责任护士|接诊医生|接诊医师|医师|医生|护士|记录者|记录人|审核者|审核人|报告医师|审核医师|"
    "手术者|术者|主刀|助手|麻醉师|送检医师|申请医生|陈述者|监护人|法定代理人"
)
_KIN = "父亲|母亲|丈夫|妻子|儿子|女儿|配偶|哥哥|弟弟|姐姐|妹妹|其父|其母|其子|其女|其妻|其夫"
_TITLE = "医生|医师|主任|副主任|护士长|护士|大夫|教授|先生|女士|小姐|院长|同志|老师"

RULES = {
    "Chinese label": re.compile(
        rf"(?:{_ROLE}|{_KIN})(?:\([{HAN}]{{1,4}}\))?(?:[ ]{{0,2}}[:为是叫][ ]{{0,4}}|[ ]{{1,4}}){_LOOSE}"
    ),
    "Chinese label alone": re.compile(
        rf"(?:{_ROLE}|{_KIN})(?:\([{HAN}]{{1,4}}\))?(?:[ ]{{0,2}}:[ ]{{0,4}}|[ ]{{1,4}})(?P<value>(?!{CLINICAL})[{HAN}]{{2,4}})(?![{HAN}])"
    ),
    "Chinese role": re.compile(rf"(?:患者|病人|患儿|产妇|家属|医师|{_KIN})[ ]{{0,2}}{_NAME}{_END}"),
    "Chinese signature": re.compile(
        rf"(?:医师|医生|护士|药师)[ ]{{0,2}}(?!{CLINICAL})(?P<value>{_SURNAME}[{HAN}]{{1,2}})(?![{HAN}])"
    ),
    "Chinese title": re.compile(
        rf"(?<![主责处药])(?!{CLINICAL})(?P<value>{_SURNAME}[{HAN}]{{0,2}}?)(?={_TITLE})"
    ),
    "Chinese name and sex": re.compile(
        rf"(?<![{HAN}])(?P<value>{_SURNAME}[{HAN}]{{1,2}})(?=[ ,，、(]{{1,3}}(?:性别[:]?)?(?:男|女|[0-9]{{1,3}}岁))"
    ),
}
LONGEST = 4


def find(text: str) -> Iterator[Found]:
    """Names in `text`, which is `plain`, without repetitions."""
    for name, regex in RULES.items():
        for match in regex.finditer(text):
            yield Found(match.start("value"), match.end("value"), Kind.NAME, name)


def repeated(text: str, found: Iterable[Found]) -> Iterator[Found]:
    """The whole names that were `found`, wherever else they stand in `text`."""
    names = {text[span.start : span.end] for span in found}
    names = {name for name in names if 2 <= len(name) <= LONGEST and "一" <= name[0] <= "鿿"}
    firsts = {name[0] for name in names}
    for at, character in enumerate(text) if names else ():
        if character in firsts:
            for length in range(LONGEST, 1, -1):
                if at + length <= len(text) and text[at : at + length] in names:
                    yield Found(at, at + length, Kind.NAME, "Chinese repetition")
                    break
