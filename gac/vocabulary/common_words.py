"""Common English words, on which the report compares how members cut text."""

COMMON_WORDS: tuple[str, ...] = tuple(
    """
    the of and to in is that for it as was with be by on not he his but at are this have from or
    had an they which one you were all her she there would their we him been has when who will
    no more if out so up said what its about than into them can only other time new some could
    these two may first then do any like my now over such our man me even most made after also
    did many off before must well back through years much where your way down should because
    long each just state those people too mr how little good world make very year still see own
    work men day get here old life both between being under three never know same last another
    while us might great go come since against right came take used himself few house american
    use place during high without again home around small however found part school thought went
    say general once upon war every left number course until always away something fact water
    less public put think almost hand enough far took head yet government system set better told
    nothing night end why called eyes find going look asked later point knew city next program
    give group toward days young let room side social present given several order national
    second possible rather per face among form important often things looked early white case
    become large need big four within felt children along saw best church ever least power
    development light thing seemed family interest want members mind area country done turned
    although open god service problem certain kind different began door thus help means sense
    whole matter line money hands name body question car words keep child today story company
    book real music study idea party morning letter market paper street table window mother
    father brother sister friend teacher student doctor office river mountain island forest
    garden village winter summer spring autumn animal horse bird fish tree flower grass stone
    earth sun moon star rain snow wind fire air sea bread milk butter sugar coffee apple dinner
    kitchen breakfast bottle chair floor wall roof bridge road train ship plane engine machine
    computer science history language nature reason answer example picture voice song color
    black red blue green yellow brown strong weak rich poor hot cold warm cool fast slow hard
    soft easy difficult heavy empty full clean dirty happy sad angry afraid tired hungry quiet
    loud bright dark deep wide narrow short begin start stop move walk run jump swim fly drive
    ride carry bring send receive build break cut read write speak listen hear watch learn teach
    remember forget believe hope wish love hate laugh cry smile sleep wake eat drink cook wash
    play win lose buy sell pay cost spend save close choose change grow die live stay leave
    arrive return follow lead meet visit explain describe understand consider decide agree allow
    offer accept refuse suggest discover information education experience knowledge relationship
    environment temperature population international technology organization performance
    independent particularly approximately
    """.split()
)
